"""Build and parse are inverse, for every scheme; and one item has one key on every carrier."""

from __future__ import annotations

import datetime
import string

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.registry import canonical_keys, checks, epc_plus, parse
from app.registry.schemes import (
    cn_insurance,
    cn_organisation,
    cn_person,
    cn_product,
    ecode,
    epc_hex,
    epc_uri,
    eui,
    gs1_compressed,
    gs1_digital_link,
    gs1_element,
    gs1_numbers,
    handle,
    hibc,
    hk_tw_id,
    hl7v2,
    isbt128,
    ma_udi,
    oid,
    providers,
    ucode,
    uuid,
)

ALNUM = string.ascii_uppercase + string.digits
REGIONS = st.sampled_from(["110105", "310104", "440305", "650100"])
BIRTHS = st.dates(
    min_value=datetime.date(1900, 1, 1),
    max_value=datetime.date(2026, 1, 1),
).map(lambda d: f"{d:%Y%m%d}")


def digits(low, high=None):
    return st.text(string.digits, min_size=low, max_size=high or low)


def text(alphabet, low, high):
    return st.text(alphabet, min_size=low, max_size=high)


gtins = digits(13).map(gs1_numbers.build)
# No brackets with digits in them: the printed form cannot tell those from AIs.
values = text(checks.CSET82.replace("(", ""), 1, 20)
quick = settings(max_examples=60, deadline=None)


def key_of(code, as_=None):
    parsed = parse(code, as_=as_)
    assert not parsed.errors, [e.code for e in parsed.errors]
    return parsed.canonical


@quick
@given(gtins, values, values)
def test_gs1_elements_in_both_forms(gtin, lot, serial):
    elements = [("01", gtin), ("10", lot), ("21", serial)]
    key = f"gs1:01:{gtin}:21:{serial}"

    assert key_of(gs1_element.build(elements)) == key
    # Spelt-out separators are taken as separators in a scan, which is what they nearly always are.
    assume("<GS>" not in lot + serial)
    raw = parse(gs1_element.build_raw(elements))
    assert raw.canonical == key
    assert list(raw.ai) == elements


@quick
@given(gtins, values, values)
def test_gs1_digital_links(gtin, lot, serial):
    link = gs1_digital_link.build([("01", gtin), ("10", lot), ("21", serial)], [("17", "290131")])
    parsed = parse(link)

    assert parsed.canonical == f"gs1:01:{gtin}:21:{serial}"
    assert parsed.fields["lot"] == lot
    assert parse(parsed.uri).canonical == parsed.canonical


@quick
@given(gtins, values, text(string.digits + "abcdef", 1, 20))
def test_compressed_digital_links(gtin, lot, serial):
    elements = [("01", gtin), ("10", lot), ("21", serial)]
    packed = gs1_compressed.pack(elements)

    assert gs1_compressed.unpack(packed) == elements
    assert key_of(f"https://id.gs1.org/{packed}") == f"gs1:01:{gtin}:21:{serial}"


@quick
@given(st.integers(6, 12), digits(13), st.integers(0, 2**38 - 1))
def test_one_item_has_one_key_on_every_carrier(prefix_digits, body, serial):
    gtin = gs1_numbers.build(body)
    prefix, reference = body[1 : 1 + prefix_digits], body[0] + body[1 + prefix_digits :]
    key = f"gs1:01:{gtin}:21:{serial}"

    assert key_of(epc_uri.build("sgtin", gtin, prefix_digits, str(serial))) == key
    for name in ("sgtin-96", "sgtin-198"):
        assert key_of(epc_hex.build(name, 1, [prefix, reference, str(serial)])) == key
    assert key_of(epc_plus.build(0xF7, 1, [gtin, str(serial)])) == key
    assert key_of(gs1_element.build([("01", gtin), ("21", str(serial))])) == key
    assert key_of(f"urn:epc:tag:sgtin-96:1.{prefix}.{reference}.{serial}") == key


# EPC scheme -> (a key in it without check digits, its AI).
EPC_KEYS = {
    "sscc": (digits(17).map(gs1_numbers.build), "00", 17),
    "gsrn": (digits(17).map(gs1_numbers.build), "8018", 17),
    "gsrnp": (digits(17).map(gs1_numbers.build), "8017", 17),
    "gsin": (digits(16).map(gs1_numbers.build), "402", 16),
    "pgln": (digits(12).map(gs1_numbers.build), "417", 12),
}


@pytest.mark.parametrize("name", EPC_KEYS)
@quick
@given(data=st.data(), prefix_digits=st.integers(6, 11))
def test_epc_uris_without_serial(name, data, prefix_digits):
    keys, ai, _ = EPC_KEYS[name]
    key = data.draw(keys)

    assert key_of(epc_uri.build(name, key, prefix_digits)) == f"gs1:{ai}:{key}"


@quick
@given(digits(12), st.integers(6, 12), text(checks.CSET82, 1, 16), st.integers(0, 2**38 - 1))
def test_epc_of_assets_and_documents(body, prefix_digits, serial, number):
    numbered = gs1_numbers.build(body)
    grai, gdti = f"0{numbered}{serial}", f"{numbered}{serial}"
    parts = [body[:prefix_digits], body[prefix_digits:]]

    assert key_of(epc_uri.build("grai", grai, prefix_digits)) == f"gs1:8003:{grai}"
    assert key_of(epc_uri.build("gdti", gdti, prefix_digits)) == f"gs1:253:{gdti}"
    assert key_of(epc_hex.build("grai-170", 0, [*parts, serial])) == f"gs1:8003:{grai}"
    assert key_of(epc_hex.build("gdti-174", 0, [*parts, serial])) == f"gs1:253:{gdti}"
    assert key_of(epc_plus.build(0xF1, 0, [grai])) == f"gs1:8003:{grai}"
    assert key_of(epc_plus.build(0xF6, 0, [gdti])) == f"gs1:253:{gdti}"
    assert key_of(epc_hex.build("grai-96", 0, [*parts, str(number)])).endswith(str(number))


@quick
@given(digits(12), st.integers(6, 12), text(checks.CSET82, 1, 20))
def test_epc_of_locations(body, prefix_digits, extension):
    assume(extension != "0")
    gln = gs1_numbers.build(body)
    parts = [body[:prefix_digits], body[prefix_digits:], extension]
    key = f"gs1:414:{gln}:254:{extension}"

    assert key_of(epc_uri.build("sgln", gln, prefix_digits, extension)) == key
    assert key_of(epc_hex.build("sgln-195", 0, parts)) == key
    assert key_of(epc_plus.build(0xF2, 0, [gln, extension])) == key


@quick
@given(digits(6, 12), text(checks.CSET82, 1, 18), st.integers(0, 2**42 - 1))
def test_epc_of_individual_assets(prefix, reference, number):
    key = f"gs1:8004:{prefix}{reference}"

    assert key_of(epc_uri.build("giai", prefix + reference, len(prefix))) == key
    assert key_of(epc_hex.build("giai-202", 0, [prefix, reference])) == key
    # With a hint: 48 bits alone could as well be a MAC address.
    assert key_of(epc_plus.build(0xFA, 0, [prefix + reference]), "epc-hex") == key
    numbered = epc_hex.build("giai-96", 0, [prefix, str(number)])
    assert key_of(numbered) == f"gs1:8004:{prefix}{number}"


@quick
@given(text(ALNUM, 3, 3), text(ALNUM, 1, 18), digits(1), text(ALNUM, 1, 18))
def test_hibc(tail, pcn, unit, serial):
    lic = "Y" + tail
    item = f"hibc:{lic}{pcn}{unit}"

    assert key_of(hibc.build_primary(lic, pcn, unit)) == item
    assert key_of(hibc.build_combined(lic, pcn, unit, f"$+{serial}")) == f"{item}:S:{serial}"
    secondary = parse(hibc.build_secondary(f"$${'7'}{serial}", "K"))
    assert (secondary.fields["lot"], secondary.fields["link"]) == (serial, "K")
    basic = hibc.build_basic(lic, pcn[:17])
    assert key_of(basic) == f"hibc-basic:{basic[2:]}"


@quick
@given(st.from_regex(r"[A-NP-Z][A-Z0-9]{4}[0-9]{8}", fullmatch=True), digits(2))
def test_isbt128(din, flags):
    assume(not 60 <= int(flags) <= 96)
    key = f"isbt128:din:{din}"

    assert key_of(isbt128.build_din(din, flags)) == key
    assert key_of(isbt128.build_printed(din, flags), "isbt128") == key
    assert key_of(isbt128.build_bag(din, "E0791V00", flags)) == f"{key}:E0791V00"
    device = isbt128.build_device("W0000HEART100A01", "000042", din, "029031")
    assert key_of(device) == "isbt128:ppic:W0000HEART100A01:000042"


@quick
@given(digits(6), digits(8), text(ALNUM, 1, 20), text(ALNUM, 1, 20))
def test_ma_codes(registrant, product, lot, serial):
    device = f"ma:MA.156.M0.{registrant}.{product}"

    assert key_of(ma_udi.build(registrant, product)) == device
    assert key_of(ma_udi.build(registrant, product, "L" + lot)) == f"{device}:L:{lot}"
    both = ma_udi.build(registrant, product, "L" + lot, "S" + serial)
    assert key_of(both) == f"{device}:S:{serial}"


@quick
@given(st.lists(st.integers(0, 2**70), min_size=1, max_size=8))
def test_oids(arcs):
    dotted = ".".join(map(str, [2, 999, *arcs]))

    for form in (oid.build_urn(dotted), oid.build_asn1(dotted), f"OID:{dotted}"):
        assert key_of(form) == f"oid:{dotted}"


@quick
@given(st.uuids())
def test_uuids(value):
    assert key_of(uuid.build(str(value))) == f"uuid:{value}"
    assert key_of(uuid.build_oid(str(value))) == f"uuid:{value}"
    assert canonical_keys("urn:ietf:rfc:3986", f"urn:uuid:{value}") == (f"uuid:{value}",)


@quick
@given(digits(3, 6), text(string.ascii_letters + string.digits + "-._/", 1, 30))
def test_handles(number, suffix):
    assume(number != "25")
    assert key_of(handle.build(f"20.{number}", suffix)) == f"hdl:20.{number}/{suffix}"
    assert key_of(handle.build_doi(f"10.{number}", suffix)) == f"doi:10.{number}/{suffix.lower()}"


@quick
@given(text("0123456789abcdef", 16, 16))
def test_device_addresses(value):
    assert key_of(eui.build(value)) == f"eui64:{value}"
    assert key_of(eui.build(value[:12], "-")) == f"eui48:{value[:12]}"
    assert key_of(ucode.build(value * 2)) == f"ucode:{(value * 2).upper()}"


@quick
@given(digits(4), digits(1, 20))
def test_ecodes(nsi, master):
    assert key_of(ecode.build("1", nsi, master), "ecode") == f"ecode:1{nsi}{master}"


@quick
@given(REGIONS, BIRTHS, digits(3), digits(3))
def test_person_numbers(region, birth, sequence, nationality):
    resident = cn_person.build_resident(region, birth, sequence)
    foreign = cn_person.build_foreign(region[:2], nationality, birth, sequence)

    assert key_of(resident) == f"cn-rid:{resident}"
    assert key_of(foreign, "cn-foreign-pr") == f"cn-fpr:{foreign}"
    folded = parse(region + birth[2:] + sequence, as_="cn-resident-id")
    if birth.startswith("19") and sequence < "996":
        assert folded.canonical == f"cn-rid:{resident}"


@quick
@given(st.sampled_from("ABCXYZ"), digits(6), digits(7), digits(8))
def test_other_person_numbers(letter, six, seven, eight):
    hong_kong = hk_tw_id.build_hk(letter, six)
    taiwan = hk_tw_id.build_tw(letter, "2" + seven)
    npi = providers.build_npi("1" + eight)

    assert key_of(hong_kong) == f"hk-id:{hong_kong.replace('(', '').replace(')', '')}"
    assert key_of(taiwan, "tw-id") == f"tw-id:{taiwan}"
    assert key_of(npi, "npi") == f"npi:{npi}"


@quick
@given(text(checks.MOD31, 8, 8), REGIONS, digits(5), digits(6))
def test_organisations(body, region, five, six):
    org_code = cn_organisation.build_org_code(body)
    uscc = cn_organisation.build_uscc("9", "1", region, org_code.replace("-", "").replace("X", "0"))

    assert key_of(org_code, "cn-org-code") == f"cn-org:{org_code.replace('-', '')}"
    assert key_of(uscc, "cn-uscc") == f"cn-uscc:{uscc}"
    assert key_of(cn_insurance.build_institution("H", region, five)) == f"nhsa:H{region}{five}"
    assert key_of(cn_insurance.build_staff("N", region, six)) == f"nhsa:N{region}{six}"


@quick
@given(st.sampled_from("HZSB"), digits(8), st.sampled_from(["", "J", "C"]), digits(4))
def test_product_registrations(category, number, origin, four):
    approval = cn_product.build_approval(category, number, origin)
    device = cn_product.build_registration("准", "2026", "3", "06", four)

    assert key_of(approval) == f"cn-drug-approval:{category}{origin}{number}"
    assert key_of(device) == f"cn-device-reg:国械注准2026306{four}"
    assert key_of(f"8{number}{number}123") == f"cn-dtc:8{number}{number}123"


@quick
@given(text(string.ascii_letters + string.digits + "&^|~\\", 1, 20))
def test_hl7_identifiers_with_every_delimiter_in_the_value(value):
    key = f"id:urn:oid:1.2.156.112635.7|{value}"

    assert key_of(hl7v2.build_cx(value, "1.2.156.112635.7", "MR"), "hl7-cx") == key
    assert key_of(hl7v2.build_ei(value, "ACME", "1.2.156.112635.7"), "hl7-ei") == key
    assert canonical_keys("urn:oid:1.2.156.112635.7", value) == (key,)
