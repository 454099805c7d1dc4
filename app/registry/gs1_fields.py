"""The names under which the values of GS1 application identifiers are answered.

Dates become ISO 8601, counts and measures numbers; all else stays text with its zeros.
"""

from __future__ import annotations

from app.registry import dates
from app.registry.reading import Reading, Value

_DATE_FIELDS = {
    "11": "productionDate",
    "12": "dueDate",
    "13": "packagingDate",
    "15": "bestBefore",
    "16": "sellBy",
    "17": "expiry",
    "7003": "expiry",
    "7006": "firstFreezeDate",
    "7011": "testBy",
    "8008": "productionDate",
    "4324": "notBefore",
    "4325": "notAfter",
    "4326": "releaseDate",
}
_COUNT_FIELDS = {"30": "count", "37": "count"}
_TEXT_FIELDS = {
    "00": "sscc",
    "01": "gtin",
    "02": "contentGtin",
    "03": "madeToOrderGtin",
    "10": "lot",
    "20": "variant",
    "21": "serial",
    "22": "cpv",
    "235": "thirdPartySerial",
    "240": "additionalId",
    "241": "customerPartNumber",
    "242": "madeToOrderVariant",
    "243": "packagingComponent",
    "250": "secondarySerial",
    "251": "sourceReference",
    "253": "gdti",
    "254": "glnExtension",
    "255": "gcn",
    "400": "orderNumber",
    "401": "ginc",
    "402": "gsin",
    "403": "route",
    "410": "shipTo",
    "411": "billTo",
    "412": "purchasedFrom",
    "413": "shipFor",
    "414": "gln",
    "415": "invoicingGln",
    "416": "productionGln",
    "417": "gln",
    "7020": "refurbishmentLot",
    "7023": "assemblyGiai",
    "7240": "protocol",
    "7241": "mediaType",
    "7242": "versionControlNumber",
    "7252": "sex",
    "7253": "familyName",
    "7254": "givenName",
    "7255": "nameSuffix",
    "7256": "fullName",
    "7257": "address",
    "7258": "birthSequence",
    "7259": "baby",
    "8002": "cellularNumber",
    "8003": "grai",
    "8004": "giai",
    "8006": "itip",
    "8010": "cpid",
    "8011": "cpidSerial",
    "8012": "softwareVersion",
    "8013": "gmn",
    "8014": "mudi",
    "8017": "gsrnp",
    "8018": "gsrn",
    "8019": "srin",
    "8020": "paymentReference",
    "8026": "contentItip",
    "8200": "productUrl",
}
# First three digits of the measures; the fourth is the number of decimals.
_MEASURES = {
    "310": "netWeightKg",
    "311": "lengthM",
    "312": "widthM",
    "313": "heightM",
    "314": "areaM2",
    "315": "netVolumeL",
    "316": "netVolumeM3",
    "320": "netWeightLb",
    "321": "lengthIn",
    "322": "lengthFt",
    "323": "lengthYd",
    "324": "widthIn",
    "325": "widthFt",
    "326": "widthYd",
    "327": "heightIn",
    "328": "heightFt",
    "329": "heightYd",
    "330": "grossWeightKg",
    "331": "logisticLengthM",
    "332": "logisticWidthM",
    "333": "logisticHeightM",
    "334": "logisticAreaM2",
    "335": "logisticVolumeL",
    "336": "logisticVolumeM3",
    "337": "kgPerM2",
    "340": "grossWeightLb",
    "356": "netWeightTroyOz",
    "357": "netVolumeOz",
    "360": "netVolumeQt",
    "361": "netVolumeGal",
    "390": "amount",
    "392": "price",
    "394": "percentOff",
    "395": "pricePerUnit",
}
_MONEY = {"391": "amount", "393": "price"}  # three digits of ISO 4217 before the number


def _decimal(digits: str, decimals: int) -> int | float:
    return int(digits) / 10**decimals if decimals else int(digits)


def _read_date(reading: Reading, code: str, value: str, year: int) -> None:
    name = _DATE_FIELDS[code]
    full, month, day = dates.century(int(value[:2]), year), int(value[2:4]), int(value[4:6])
    if day == 0:
        found = dates.month_end(full, month)
        reading.fields[name + "Precision"] = "month"
    else:
        found = dates.ymd(full, month, day)
    if found is None:
        return
    time = value[6:]
    if len(time) == 2:
        found += f"T{time}:00"
    elif time:
        found += f"T{time[:2]}:{time[2:4]}" + (f":{time[4:6]}" if len(time) == 6 else "")
    reading.fields[name] = found


def _read_birth(reading: Reading, value: str) -> None:
    found = dates.compact(value)
    if found:
        reading.fields["birthDate"] = found
        if len(value) == 12:
            reading.fields["birthTime"] = f"{value[8:10]}:{value[10:]}"


def fill(reading: Reading, code: str, value: str, year: int) -> None:
    """Put one value, known to have the right characters and length, into `reading.fields`."""
    fields: dict[str, Value] = reading.fields
    if code in _TEXT_FIELDS:
        fields[_TEXT_FIELDS[code]] = value
    elif code in _DATE_FIELDS:
        _read_date(reading, code, value, year)
    elif code in _COUNT_FIELDS:
        fields[_COUNT_FIELDS[code]] = int(value)
    elif code[:3] in _MEASURES:
        fields[_MEASURES[code[:3]]] = _decimal(value, int(code[3]))
    elif code[:3] in _MONEY:
        fields["currency"] = value[:3]
        fields[_MONEY[code[:3]]] = _decimal(value[3:], int(code[3]))
    elif code in ("7250", "7251"):
        _read_birth(reading, value)


def name(code: str) -> str:
    """Return the field of an AI, for errors: its name, or the AI in brackets."""
    return _TEXT_FIELDS.get(code) or _DATE_FIELDS.get(code) or f"({code})"
