"""`yilian id parse`: codes in, one JSON object each out. Imports little: starting is most of it.

Arguments, or one bare code a line on standard input, or with `--jsonl` one JSON object a line
with `code`, `n` and `as`. Answers are in the order of the codes, and flushed whenever the input
pauses.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, TextIO, cast

from app.registry.parse import parse

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 20

USAGE = """usage: yilian id parse [--as SCHEME] [CODE...]
       yilian id parse [--as SCHEME] [--jsonl] < CODES

Read identifiers: GS1, EPC, HIBC, ISBT 128, UDI, OID, UUID, Handle, Chinese person, drug and
organisation numbers, device addresses, HL7 v2 and FHIR forms. One JSON object a code.

  --as SCHEME   read as this scheme, or say why not
  --jsonl       each input line is {"code": "...", "n": 0, "as": "..."}

Exit status: 0; 1 when codes are given as arguments and one is not valid; 2 for wrong usage.
"""


def main(argv: Sequence[str], stdin: BinaryIO | TextIO, stdout: TextIO) -> int:
    """Run the command and return its exit status."""
    codes: list[str] = []
    hint: str | None = None
    jsonl = False
    rest = iter(argv)
    for word in rest:
        if word in ("-h", "--help"):
            stdout.write(USAGE)
            return 0
        if word == "--jsonl":
            jsonl = True
        elif word == "--as":
            hint = next(rest, None)
            if hint is None:
                return _wrong(stdout, "--as needs a scheme")
        elif word.startswith("--as="):
            hint = word[5:]
        elif word == "--":
            codes.extend(rest)
        elif word.startswith("--"):
            return _wrong(stdout, "no such option")
        else:
            codes.append(word)
    if codes and jsonl:
        return _wrong(stdout, "--jsonl reads standard input, not arguments")
    if codes:
        return _arguments(codes, hint, stdout)
    # Only here: it costs 20 ms to load and saves as much on every thousand codes.
    import orjson

    answer = _request(orjson.loads, hint) if jsonl else _bare(hint)
    dump = orjson.dumps
    for lines in _batches(stdin):
        out = []
        for text in lines:
            result = answer(text)
            try:
                out.append(dump(result).decode())
            except orjson.JSONEncodeError:  # a lone surrogate
                out.append(_json(result))
        out.append("")
        stdout.write("\n".join(out))
        stdout.flush()
    return 0


def _wrong(stdout: TextIO, problem: str) -> int:
    stdout.write(f"yilian id parse: {problem}\n\n{USAGE}")
    return 2


def _arguments(codes: Iterable[str], hint: str | None, stdout: TextIO) -> int:
    status = 0
    for code in codes:
        parsed = parse(code, as_=hint)
        stdout.write(_json(parsed.as_dict()) + "\n")
        status = status or int(not parsed.valid)
    return status


def _batches(stdin: BinaryIO | TextIO) -> Iterator[list[bytes]]:
    """Yield the lines that have come in, as they come: a batch ends where the input pauses.

    Lines end with LF only; a line over a mebibyte is cut, which makes it `too-long` all the same.
    """
    raw = cast(io.BufferedReader, getattr(stdin, "buffer", stdin))
    tail = b""
    while chunk := raw.read1(_CHUNK):
        *lines, tail = (tail + chunk).split(b"\n")
        if len(tail) > _LONGEST_LINE:
            tail = tail[:_LONGEST_LINE]
        if lines:
            yield lines
    if tail:
        yield [tail]


def _bare(hint: str | None) -> Callable[[bytes], dict[str, Any]]:
    """Give the function that answers a line holding a code."""
    return lambda line: parse(line.decode("utf-8", "replace"), as_=hint).as_dict()


def _request(loads: Callable[[bytes], Any], hint: str | None) -> Callable[[bytes], dict[str, Any]]:
    """Give the function that answers a line holding a JSON object."""

    def answer(line: bytes) -> dict[str, Any]:
        try:
            request = loads(line)
        except ValueError:
            request = _lenient(line)
        code = request.get("code") if isinstance(request, dict) else None
        if not isinstance(code, str):
            return _NOT_A_REQUEST
        asked = request.get("as") or hint
        result = parse(code, as_=str(asked) if asked else None).as_dict()
        return {"n": request["n"], **result} if "n" in request else result

    return answer


def _lenient(line: bytes) -> Any:
    """Read what the fast reader refuses but JSON allows: an escaped lone surrogate."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


_NOT_A_REQUEST = {
    "valid": False,
    "scheme": "unknown",
    "keys": [],
    "fields": {},
    "candidates": [],
    "errors": [{"code": "format", "message": "the line is not a JSON object with a code"}],
    "warnings": [],
}
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _json(answer: dict[str, Any]) -> str:
    text = _encode(answer)
    # A lone surrogate of the input becomes its JSON escape: UTF-8 has no other way to write it.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
