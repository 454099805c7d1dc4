"""What a message says is the same from what its Bundle was made of and from the Bundle alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.feeds.hl7v2.convert import convert
from app.feeds.statement import statements
from app.fhir.ids import RECORD
from app.mapping.run import Entry

MESSAGES = sorted(Path("fixtures/demo").rglob("*.hl7"))


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_keys_are_those_that_are_printed(path: Path) -> None:
    for result in convert(path.read_bytes()):
        if result.bundle is not None:
            assert statements(result.bundle, made=result.entries) == statements(result.bundle)


@pytest.mark.parametrize(
    ("type_name", "key"),
    [
        ("Patient", ("urn:s", "a|b,c$d\\e")),
        ("Patient", ("urn:s", "a b%20&=+#号")),
        ("Patient", (RECORD, "a%3Ab:c")),
        ("Patient", None),
        ("Provenance", ("urn:s", "1")),
    ],
)
@pytest.mark.parametrize("mention", [True, False])
def test_any_key_is_read_as_it_was(
    type_name: str, key: tuple[str, str] | None, mention: bool
) -> None:
    made = Entry.of(type_name, key, "11111111-2222-8333-8444-555555555555", mention)
    made.body = {"resourceType": type_name}
    bundle = {"entry": [made.printed()]}

    (by_key,), (printed,) = statements(bundle, made=[made]), statements(bundle)

    assert by_key == printed
    assert by_key.key == (None if type_name == "Provenance" else key)
