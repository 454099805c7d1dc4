"""Ids computed from business identities (app/fhir/ids.py)."""

import hashlib
import hmac
import uuid
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from app.fhir.ids import Ids, criteria, encode_part, record_key


def test_an_id_is_a_uuid_of_version_8_made_of_the_keyed_hash():
    found = uuid.UUID(Ids(b"secret", "t").id_of("Patient", "s|1"))
    digest = hmac.new(b"secret", b"t\x1fPatient\x1fs|1", hashlib.sha256).hexdigest()

    assert found.version == 8
    assert found.variant == uuid.RFC_4122
    assert found.hex[:12] == digest[:12]


def test_the_variant_of_an_id_is_that_of_rfc_9562_whatever_the_hash():
    ids = Ids(b"secret")
    found = [uuid.UUID(ids.id_of("Patient", f"s|{n}")) for n in range(100)]

    assert {(one.version, one.variant) for one in found} == {(8, uuid.RFC_4122)}
    assert {str(one)[19] for one in found} == set("89ab")


@given(st.text())
def test_parts_are_encoded_as_urls_are(text):
    assert encode_part(text) == quote(text.strip(), safe="-._~")


def test_ids_depend_on_secret_tenant_type_and_key():
    ids = {
        Ids(secret, tenant).id_of(type_, key)
        for secret in (b"a", b"b" * 100)
        for tenant in ("", "t")
        for type_ in ("Patient", "Person")
        for key in ("s|1", "s|2")
    }

    assert len(ids) == 16


def test_parts_of_a_record_key_cannot_run_into_each_other():
    assert record_key(["a:b", " c "]) == "a%3Ab:c"
    assert record_key(["a", "b:c"]) == "a:b%3Ac"


def test_criteria_escape_the_token_and_then_the_url():
    assert criteria("http://x/sid", "A-1") == "identifier=http://x/sid|A-1"
    assert criteria("urn:x", "a|b,c&d") == "identifier=urn:x|a%5C%7Cb%5C%2Cc%26d"
    assert criteria("urn:x", "张") == "identifier=urn:x|%E5%BC%A0"
