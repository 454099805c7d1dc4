"""The worked examples inside mapping files, which run as their tests.

    examples:
      - title: what it shows
        input: [MSH|..., PID|...]        # a text, or a list of lines
        expect:
          Patient.birthDate: "1980-01-01"
          Observation[1].valueQuantity.value: 5.60
          Encounter: absent

A path begins with a type (the first such resource, or the n-th from 0) and goes down by names and
indexes; without an index an array means its first item. `absent` says that nothing is there, a
number compares with its digits, `=text` is the text itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_STEP = re.compile(r"([A-Za-z_]\w*)(?:\[(\d+)\])?")
_ABSENT = object()


def failures(bundle: Mapping[str, Any] | None, expect: Mapping[str, Any]) -> list[str]:
    """Return what is not as expected, one line each; empty when all is."""
    entries = bundle["entry"] if bundle else ()
    resources = [entry["resource"] for entry in entries]
    out = []
    for path, wanted in expect.items():
        found = look(resources, path)
        if not _same(found, wanted):
            shown = "nothing" if found is _ABSENT else repr(found)
            out.append(f"{path}: {shown} instead of {wanted!r}")
    return out


def look(resources: list[Mapping[str, Any]], path: str) -> Any:
    """Return what stands at the path, or a mark that nothing does."""
    first, *rest = path.split(".")
    step = _STEP.fullmatch(first)
    if step is None:
        return _ABSENT
    same = [r for r in resources if r["resourceType"] == step[1]]
    number = int(step[2] or 0)
    if number >= len(same):
        return _ABSENT
    found: Any = same[number]
    for part in rest:
        found = _down(found, part)
    return found


def _down(found: Any, part: str) -> Any:
    step = _STEP.fullmatch(part)
    if isinstance(found, list):
        found = found[0] if found else _ABSENT
    if step is None or not isinstance(found, dict) or step[1] not in found:
        return _ABSENT
    value = found[step[1]]
    if step[2] is None:
        return value
    number = int(step[2])
    return value[number] if isinstance(value, list) and number < len(value) else _ABSENT


def _same(found: Any, wanted: Any) -> bool:
    if wanted == "absent":
        return found is _ABSENT
    if isinstance(wanted, str) and wanted.startswith("="):
        wanted = wanted[1:]
    if isinstance(found, list) and len(found) == 1 and not isinstance(wanted, list):
        found = found[0]
    if isinstance(found, Decimal) or isinstance(wanted, Decimal):
        return str(found) == str(wanted)
    return bool(found == wanted)
