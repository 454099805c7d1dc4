"""`yilian validate FILE...`: one OperationOutcome a line for each resource or message.

Files hold a FHIR resource (JSON), resources one a line (NDJSON), or HL7 v2 messages; the content
decides. Exit code 1 when there is an error in any of them.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from app.errors import Issue, NotSupported, YilianError
from app.fhir import definitions, validate
from app.fhir import json as fhir_json
from app.fhir.outcome import ALL_OK, operation_outcome

_HL7V2 = "app.feeds.hl7v2.check"
_HL7V2_BEGINS = (b"\x0bMSH", b"MSH", b"FHS", b"BHS")
_BAD = ("error", "fatal")


def main(argv: Sequence[str], stdin: IO[bytes], stdout: IO[str]) -> int:
    """Check the files and print what was found; return 1 when something is wrong."""
    parser = argparse.ArgumentParser(
        prog="yilian validate", description="Check FHIR R4 resources, or HL7 v2 messages."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="- reads standard input")
    parser.add_argument("--profile", metavar="URL", help="also check against this profile")
    args = parser.parse_args(argv)
    if args.profile:
        raise NotSupported("--profile is not available in this version")
    worst = 0
    for name in args.files:
        content = stdin.read() if name == "-" else Path(name).read_bytes()
        if content.lstrip().startswith(_HL7V2_BEGINS):
            worst = max(worst, _messages(name, content, stdout))
            continue
        for resource in _resources(content):
            issues = _issues(resource)
            stdout.write(operation_outcome(issues or [ALL_OK]).decode() + "\n")
            worst = max(worst, int(any(issue.severity in _BAD for issue in issues)))
    return worst


def _messages(name: str, content: bytes, stdout: IO[str]) -> int:
    if importlib.util.find_spec(_HL7V2) is None:
        raise NotSupported("checking HL7 v2 messages is not available in this version", at=name)
    return cast(int, importlib.import_module(_HL7V2).report(content, stdout))


def _resources(content: bytes) -> Iterator[bytes]:
    """Give the one resource of a JSON file, or those of the lines of an NDJSON file."""
    lines = [line for line in content.splitlines() if line.strip()]
    whole = len(lines) < 2 or not all(line.lstrip().startswith(b"{") for line in lines)
    yield from [content] if whole else lines


def _issues(body: bytes) -> Sequence[Issue]:
    try:
        resource = fhir_json.parse(fhir_json.compact(body))
        name = resource.get("resourceType")
        if not isinstance(name, str) or not definitions.is_resource_type(name):
            return [Issue("error", "invalid", "there is no such R4 resource", "resourceType")]
        if validate.check(resource, name):
            return []
        return validate.problems(resource, name)
    except YilianError as exc:
        return exc.issues
