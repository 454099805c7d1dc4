"""What `--explain` prints: for every element its rule and source, then the input nobody used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from app.fhir.ids import RECORD
from app.mapping.run import NAMELESS, Entry, Made
from app.mapping.trace import Step, Trace

_PART = re.compile(r"\.?[^.\[]+|\[\d+\]")


def lines(doc: Any, made: Made, trace: Trace) -> Iterable[str]:
    """Yield `Patient.name[0].family  PID-5.1.1  hl7v2/patient.yaml:52` and `unused: PID-32`."""
    by_url: dict[str, list[Step]] = {}
    for step in trace.steps:
        by_url.setdefault(step.full_url, []).append(step)
    for entry in made.entries:
        rule = entry.rule.name if entry.rule else "mention"
        yield f"{entry.type} {entry.full_url} ({rule})"
        yield from _elements(entry, by_url.get(entry.full_url, []), trace)
    for place in doc.places():
        if place not in trace.used and place.partition("[")[0] not in trace.used:
            yield f"unused: {place}"


def _elements(entry: Entry, steps: list[Step], trace: Trace) -> Iterator[str]:
    body = entry.printed()["resource"]
    leaves = [leaf for leaf in _leaves(body, entry.type) if leaf != f"{entry.type}.resourceType"]
    known = {inner for leaf in leaves for inner in _around(leaf)}
    steps = [step for step in steps if step.path in known]  # not what was left out in the end
    told = {step.path for step in steps}
    if entry.key is not None and entry.key[0] == RECORD:
        name = f"{entry.type}.id" if entry.type in NAMELESS else f"{entry.type}.identifier"
        at = f"  [{entry.rule.at}]" if entry.rule else ""
        sources = trace.keys.get(entry.key) or ("(message)",)
        yield f"  {name}  <- {' '.join(('record key', *sources))}{at}"
        told.add(name)
    elif f"{entry.type}.id" in known:
        yield f"  {entry.type}.id  <- (message)"
        told.add(f"{entry.type}.id")
    if "meta" in body and not any(".meta" in step.path for step in steps):
        yield f"  {entry.type}.meta  <- (message)  [every]"
        told.add(f"{entry.type}.meta")
    for step in steps:
        yield _line(step.path, step)
    for leaf in leaves:
        if not told.intersection(_around(leaf)):
            yield _line(leaf, _nearest(leaf, steps))


def _line(path: str, step: Step | None) -> str:
    if step is None:
        return f"  {path}  <- (rule)"
    return f"  {path}  <- {' '.join(step.sources) or 'constant'}  [{step.at}]"


def _leaves(value: Any, path: str) -> Iterator[str]:
    """Yield the paths of all that is no object and no array."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}")
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path


def _around(path: str) -> list[str]:
    """Return the path and those of all that it stands in."""
    parts = _PART.findall(path)
    return ["".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _nearest(path: str, steps: list[Step]) -> Step | None:
    """Return the step beside which something stands that a function made of more than one field."""
    near = {inner: depth for depth, inner in enumerate(_around(path))}

    def depth(step: Step) -> int:
        return max(near.get(inner, 0) for inner in _around(step.path))

    found = max(steps, key=depth, default=None)
    return found if found is not None and depth(found) > 0 else None
