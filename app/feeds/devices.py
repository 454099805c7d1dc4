"""`yilian convert iot`: device JSON, and the HL7 v2 messages of IHE PCD that devices send as well.

IHE PCD-01, PCD-04 and PCD-10 (`.hl7`) are HL7 v2 and are converted by its mappings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO

import msgspec

from app.feeds.hl7v2.convert import convert
from app.feeds.iot import convert as iot
from app.fhir.outcome import operation_outcome

_json = msgspec.json.Encoder(decimal_format="number")


def main(
    argv: Sequence[str], stdin: IO[bytes], stdout: IO[str], stderr: IO[str] | None = None
) -> int:
    """Convert files to NDJSON; return 0, or 1 when a message could not be converted."""
    return iot.main(argv, stdin, stdout, stderr, others={".hl7": _hl7})


def _hl7(body: bytes) -> Iterator[iot.Line]:
    for result in convert(body):
        notes = [f"{issue.severity}: {issue.text}" for issue in result.issues]
        if result.bundle is None:
            yield operation_outcome(result.issues), notes, not result.refused
        else:
            yield _json.encode(result.bundle), notes, True
