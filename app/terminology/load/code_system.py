"""The concepts of a CodeSystem resource as a draft of a stored version. R4 codesystem.html.

Nesting and the properties `parent` and `child` make the hierarchy. The concepts are decoded one at
a time: in memory are the resource's bytes and what the draft keeps.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from app.errors import Malformed
from app.terminology import status
from app.terminology.stored.build import Draft
from app.terminology.stored.rows import Body, Held, Named
from app.terminology.types import Json

# Fewer concepts stay a resource: it is read whole in a moment, and served whole as well.
THRESHOLD = 5_000
_SMALLEST = 12  # bytes a concept takes at least

_MOST_DEEP = 500


class _Written(msgspec.Struct):
    """A concept as it is written; what is nested in it stays bytes."""

    code: str = ""
    display: str | None = None
    definition: str | None = None
    designation: list[Json] = []
    property: list[Json] = []
    extension: list[Json] = []
    concept: list[msgspec.Raw] = []


class _System(msgspec.Struct):
    concept: list[msgspec.Raw] = []


_read_system = msgspec.json.Decoder(_System).decode
_read_concept = msgspec.json.Decoder(_Written).decode
_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def header_of(body: bytes) -> Json:
    """Return a CodeSystem without its concepts."""
    members = _read_members(body)
    members.pop("concept", None)
    header: Json = msgspec.json.decode(msgspec.json.encode(members))
    return header


def is_large(body: bytes) -> bool:
    """Whether a CodeSystem has more concepts than a resource should."""
    if len(body) < THRESHOLD * _SMALLEST:
        return False
    try:
        return sum(1 for _ in _walk(body)) > THRESHOLD
    except msgspec.MsgspecError as exc:
        raise Malformed("the concepts of the CodeSystem cannot be read") from exc


def draft_of(body: bytes, where: str) -> tuple[Json, Draft]:
    """Return the header of a CodeSystem and its concepts. Raises Malformed."""
    try:
        header = header_of(body)
        draft = Draft(header, lambda place: f"{where} concept {place}")
        declared = status.declared(header)
        for place, (written, above) in enumerate(_walk(body), 1):
            _add(draft, written, above, place, declared)
    except msgspec.MsgspecError as exc:
        raise Malformed("the concepts of the CodeSystem cannot be read", at=where) from exc
    return header, draft


def _walk(body: bytes) -> Iterator[tuple[_Written, str]]:
    """Yield each concept with the code of the one it is nested in, depth first."""
    stack = [(iter(_read_system(body).concept), "")]
    while stack:
        raws, above = stack[-1]
        raw = next(raws, None)
        if raw is None:
            stack.pop()
            continue
        written = _read_concept(raw)
        yield written, above
        if written.concept:
            if len(stack) > _MOST_DEEP:
                raise msgspec.ValidationError("too deep")
            stack.append((iter(written.concept), written.code))


def _add(
    draft: Draft, written: _Written, above: str, place: int, declared: status.Declared
) -> None:
    held = [_held(one) for one in written.property if isinstance(one.get("code"), str)]
    for one in held:
        if one.code in declared.codes["parent"] and isinstance(one.value, str):
            draft.add_parent(written.code, one.value)
        elif one.code in declared.codes["child"] and isinstance(one.value, str):
            draft.add_parent(one.value, written.code)
    draft.add(
        written.code,
        Body(
            written.display,
            [above] if above else [],
            held,
            [_named(draft, one) for one in written.designation if one.get("value")],
            written.definition,
            written.extension,
        ),
        place,
    )


def _held(written: Json) -> Held:
    for name, value in written.items():
        if name.startswith("value"):
            kind = name[5:]
            return Held(
                written["code"],
                kind if kind == "Coding" else kind[:1].lower() + kind[1:],
                value,
            )
    return Held(written["code"], "string", "")


def _named(draft: Draft, written: Json) -> Named:
    return Named(
        written["value"],
        written.get("language"),
        draft.use(written.get("use")),
        written.get("extension", []),
    )
