"""Identifier schemes: one pure module for each family, found through this table.

A scheme's reader takes the cleaned text and a Context and gives a Reading; it never raises for
bad input. Modules are imported when a code first needs them, so that parsing one code stays cheap.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import cast

from app.registry.reading import Reader

# Scheme (also what `as` may name) -> module and reader.
SCHEMES = {
    "gs1-element": ("gs1_element", "read"),
    "gs1-unmarked": ("gs1_element", "unmarked"),
    "gs1-digital-link": ("gs1_digital_link", "read"),
    "gs1-digital-link-compressed": ("gs1_digital_link", "read"),
    "gtin": ("gs1_numbers", "read_gtin"),
    "gln": ("gs1_numbers", "read_gln"),
    "sscc": ("gs1_numbers", "read_sscc"),
    "gsrn": ("gs1_numbers", "read_gsrn"),
    "gsrnp": ("gs1_numbers", "read_gsrnp"),
    "gmn": ("gs1_numbers", "read_gmn"),
    "grai": ("gs1_numbers", "read_grai"),
    "giai": ("gs1_numbers", "read_giai"),
    "gdti": ("gs1_numbers", "read_gdti"),
    "epc": ("epc_uri", "read"),
    "epc-id-uri": ("epc_uri", "read"),
    "epc-class-uri": ("epc_uri", "read"),
    "epc-tag-uri": ("epc_uri", "read"),
    "epc-hex": ("epc_hex", "read"),
    "epc-hex-unmarked": ("epc_hex", "unmarked"),
    "hibc": ("hibc", "read"),
    "hibc-primary": ("hibc", "read"),
    "hibc-secondary": ("hibc", "read"),
    "hibc-combined": ("hibc", "read"),
    "hibc-basic-udi": ("hibc", "read"),
    "hibc-di": ("hibc", "read_di"),
    "isbt128": ("isbt128", "read"),
    "isbt128-udi": ("isbt128", "read"),
    "isbt128-di": ("isbt128", "read_di"),
    "ma-udi": ("ma_udi", "read"),
    "oid": ("oid", "read"),
    "dicom-uid": ("oid", "read_dicom"),
    "uuid": ("uuid", "read"),
    "handle": ("handle", "read"),
    "doi": ("handle", "read"),
    "ecode": ("ecode", "read"),
    "ucode": ("ucode", "read"),
    "eui48": ("eui", "read_48"),
    "eui64": ("eui", "read_64"),
    "eui": ("eui", "read_any"),
    "ble-random": ("eui", "read_random"),
    "ble-address": ("eui", "read_random"),
    "hl7-cx": ("hl7v2", "read_cx"),
    "hl7-ei": ("hl7v2", "read_ei"),
    "hl7-hd": ("hl7v2", "read_hd"),
    "hl7": ("hl7v2", "read"),
    "fhir-token": ("assigned", "read_token"),
    "alias": ("assigned", "read_alias"),
    "cn-resident-id": ("cn_person", "read_resident"),
    "cn-foreign-pr": ("cn_person", "read_foreign"),
    "cn-hkmo-permit": ("cn_person", "read_hkmo_permit"),
    "cn-tw-permit": ("cn_person", "read_tw_permit"),
    "cn-passport": ("cn_person", "read_passport"),
    "passport": ("cn_person", "read_passport"),
    "hk-id": ("hk_tw_id", "read_hk"),
    "tw-id": ("hk_tw_id", "read_tw"),
    "cn-uscc": ("cn_organisation", "read_uscc"),
    "cn-org-code": ("cn_organisation", "read_org_code"),
    "cn-med-inst": ("cn_organisation", "read_medical_institution"),
    "cn-practice-licence": ("cn_organisation", "read_licence"),
    "nhsa-institution": ("cn_insurance", "read_institution"),
    "nhsa-staff": ("cn_insurance", "read_staff"),
    "nhsa-drug": ("cn_insurance", "read_drug"),
    "nhsa-consumable": ("cn_insurance", "read_consumable"),
    "cn-drug-approval": ("cn_product", "read_approval"),
    "cn-device-reg": ("cn_product", "read_device"),
    "cn-device-filing": ("cn_product", "read_device"),
    "cn-drug-trace": ("cn_product", "read_trace"),
    "npi": ("providers", "read_npi"),
    "duns": ("providers", "read_duns"),
}


@cache
def reader(scheme: str) -> Reader:
    """Return the reader of a scheme of the table."""
    module, name = SCHEMES[scheme]
    return cast(Reader, getattr(import_module(f"{__name__}.{module}"), name))
