"""How a site's senders are answered: `senders.yaml` of its overlay folder.

senders:
  H1|LAB: {original-mode: true}           # MSH-4|MSH-3, as the inbox names the sender
  H2: {close-when-unstorable: true}       # MSH-4: every other application there
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from app.errors import Invalid, Issue
from app.feeds.hl7v2.door import Profile
from app.mapping.yamldoc import Block, parse

FILE = "senders.yaml"
_SWITCHES = {
    "original-mode": "original_mode",
    "close-when-unstorable": "close_when_unstorable",
}


def load(overlay: Path | None, usual: Profile) -> Mapping[str, Profile]:
    """Return the profiles of senders that are answered other than `usual`.

    Raises Malformed, or Invalid with every problem and its line.
    """
    path = overlay / FILE if overlay else None
    if path is None or not path.is_file():
        return {}
    body = parse(path.read_text("utf-8"), FILE)
    problems = list(_problems(body))
    if problems:
        raise Invalid.of(problems)
    return {
        name: replace(usual, **{_SWITCHES[switch]: on for switch, on in told.items()})
        for name, told in body["senders"].items()
    }


def _problems(body: object) -> Iterator[Issue]:
    senders = body.get("senders") if isinstance(body, Block) and len(body) == 1 else None
    if not isinstance(senders, Block):
        yield _wrong("expected `senders:` with a row for each", 1)
        return
    for name, told in senders.items():
        line = senders.lines[name]
        if not isinstance(told, Block):
            yield _wrong("a sender has switches", line)
            continue
        for switch, on in told.items():
            if switch not in _SWITCHES:
                yield _wrong(f"a switch is one of {', '.join(_SWITCHES)}", told.lines[switch])
            elif not isinstance(on, bool):
                yield _wrong(f"{switch} is true or false", told.lines[switch])


def _wrong(text: str, line: int) -> Issue:
    return Issue("error", "value", text, f"{FILE}:{line}")
