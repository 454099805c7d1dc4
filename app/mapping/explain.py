"""What `--explain` prints: for every element its rule and source, then the input nobody used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.fhir.ids import RECORD
from app.mapping.run import NAMELESS, Made
from app.mapping.trace import Trace


def lines(doc: Any, made: Made, trace: Trace) -> Iterable[str]:
    """Yield `Patient.name[0].family  PID-5.1.1  hl7v2/patient.yaml:52` and `unused: PID-32`."""
    by_url: dict[str, list[Any]] = {}
    for step in trace.steps:
        by_url.setdefault(step.full_url, []).append(step)
    for entry in made.entries:
        rule = entry.rule.name if entry.rule else "mention"
        yield f"{entry.type} {entry.full_url} ({rule})"
        steps = by_url.get(entry.full_url, ())
        if entry.key is not None and entry.key[0] == RECORD and entry.type not in NAMELESS:
            at = f"  [{entry.rule.at}]" if entry.rule else ""
            yield f"  {entry.type}.identifier  <- record key{at}"
        if "meta" in (entry.body or ()) and not any(".meta" in step.path for step in steps):
            yield f"  {entry.type}.meta  <- (message)  [every]"
        for step in steps:
            sources = " ".join(step.sources) or "constant"
            yield f"  {step.path}  <- {sources}  [{step.at}]"
    for place in doc.places():
        if place not in trace.used and place.partition("[")[0] not in trace.used:
            yield f"unused: {place}"
