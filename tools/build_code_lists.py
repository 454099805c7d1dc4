"""Build `app/terminology/data/*.tsv`: languages, countries, currencies, time zones, DICOM codes.

    python -m venv facts && facts/bin/pip install babel pycountry language-tags tzdata pydicom
    npm pack cldr-subdivisions-full && tar xzf cldr-subdivisions-full-*.tgz
    facts/bin/python tools/build_code_lists.py package/subdivisions [OUT_DIR]

The packages are needed by this tool alone. What is taken from each, under which licence:

- language-tags (MIT): the IANA language subtag registry, which is in the public domain;
- babel (BSD) and cldr-subdivisions-full: names of the Unicode CLDR (Unicode-3.0);
- pycountry (LGPL-2.1): codes of ISO 3166, 4217 and 639 and the English short names, as facts;
- tzdata (Apache-2.0): names of the IANA time zones, which are in the public domain;
- pydicom (MIT): code values and meanings of DICOM PS3.16 annex D.

Each file is text: lines that begin with `#` say where it is from, then one line of column names,
then one row a line, cells parted by tabs, several values in one cell by `|`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module, metadata, resources
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DEFAULT_OUT = HERE.parent / "app" / "terminology" / "data"
Row = tuple[str, ...]

# Of ISO 639-2, but in the registry only after its first edition.
_LATER = frozenset(
    ("anp", "cnr", "frr", "frs", "gsw", "krl", "nqo", "syc", "zbl", "zgh", "zxx", "zza")
)
_FIRST_EDITION = "2005-10-16"

_TERRITORIES = {"TW": "中国台湾"}  # as GB/T 2659 has it, beside 中国香港 and 中国澳门 of CLDR

# Chinese names of the provinces, as GB/T 2260 calls them; CLDR has none.
_PROVINCES = dict(
    entry.split(" ")
    for entry in """\
CN-AH 安徽省|CN-BJ 北京市|CN-CQ 重庆市|CN-FJ 福建省|CN-GD 广东省|CN-GS 甘肃省|CN-GX 广西壮族自治区
CN-GZ 贵州省|CN-HA 河南省|CN-HB 湖北省|CN-HE 河北省|CN-HI 海南省|CN-HK 香港特别行政区|CN-HL 黑龙江省
CN-HN 湖南省|CN-JL 吉林省|CN-JS 江苏省|CN-JX 江西省|CN-LN 辽宁省|CN-MO 澳门特别行政区
CN-NM 内蒙古自治区|CN-NX 宁夏回族自治区|CN-QH 青海省|CN-SC 四川省|CN-SD 山东省|CN-SH 上海市
CN-SN 陕西省|CN-SX 山西省|CN-TJ 天津市|CN-TW 台湾省|CN-XJ 新疆维吾尔自治区|CN-XZ 西藏自治区
CN-YN 云南省|CN-ZJ 浙江省""".replace("\n", "|").split("|")
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("subdivisions", type=Path, help="folder with en/ of CLDR")
    parser.add_argument("out", type=Path, nargs="?", default=DEFAULT_OUT, help="folder to write")
    arguments = parser.parse_args()
    zh = import_module("babel").Locale("zh")
    for name, text in (
        ("languages", languages(zh)),
        ("iso639", iso639(zh)),
        ("countries", countries(zh)),
        ("subdivisions", subdivisions(arguments.subdivisions)),
        ("currencies", currencies(zh)),
        ("time_zones", time_zones(zh)),
        ("dicom", dicom()),
    ):
        (arguments.out / f"{name}.tsv").write_text(text, encoding="utf-8")


def languages(zh: Any) -> str:
    """Return the language subtag registry (RFC 5646 section 3) with Chinese names."""
    folder = resources.files("language_tags") / "data" / "json"
    version = json.loads((folder / "meta.json").read_text("utf-8"))["File-Date"]
    registry = json.loads((folder / "registry.json").read_text("utf-8"))
    names = {
        "language": {k.lower(): v for k, v in zh.languages.items()},
        "script": zh.scripts,
        "region": {**zh.territories, **_TERRITORIES},
        "variant": {k.lower(): v for k, v in zh.variants.items()},
    }
    return _file(
        version,
        f"IANA language subtag registry of {version}; Chinese names: {_cldr()}",
        ("kind", "subtag", "names", "zh", "prefixes", "preferred", "deprecated", "iso639-2"),
        (_subtag(entry, names) for entry in registry),
    )


def _subtag(entry: Mapping[str, Any], names: Mapping[str, Mapping[str, str]]) -> Row:
    kind, subtag = entry["Type"], entry.get("Subtag") or entry["Tag"]
    listed = kind == "language" and (subtag in _LATER or entry["Added"] <= _FIRST_EDITION)
    return (
        kind,
        subtag,
        "|".join(entry["Description"]),
        names.get(kind, {}).get(subtag, ""),
        "|".join(entry.get("Prefix", ())),
        entry.get("Preferred-Value", ""),
        entry.get("Deprecated", ""),
        "*" if listed and _still(entry) and ".." not in subtag else "",
    )


def _still(entry: Mapping[str, Any]) -> bool:
    """Say whether ISO 639 still lists a language; it withdrew two without a successor."""
    return "Deprecated" not in entry and entry["Subtag"] not in ("bh", "sh")


def iso639(zh: Any) -> str:
    """Return the three- and two-letter codes of ISO 639-2 and 639-1."""
    pycountry = import_module("pycountry")
    folder = resources.files("language_tags") / "data" / "json"
    known = {
        entry["Subtag"]
        for entry in json.loads((folder / "registry.json").read_text("utf-8"))
        if entry["Type"] == "language" and _subtag(entry, {})[-1]
    }
    rows = []
    for language in pycountry.languages:
        short = getattr(language, "alpha_2", "")
        if (short or language.alpha_3) in known:
            chinese = zh.languages.get(short or language.alpha_3, "")
            old = getattr(language, "bibliographic", "")
            rows.append((language.alpha_3, old, short, language.name, chinese))
    return _file(
        _iso_version(),
        f"{_iso()}; Chinese names: {_cldr()}",
        ("alpha3", "bibliographic", "alpha2", "name", "zh"),
        rows,
    )


def countries(zh: Any) -> str:
    """Return the countries of ISO 3166-1."""
    pycountry = import_module("pycountry")
    names = {**zh.territories, **_TERRITORIES}
    return _file(
        _iso_version(),
        f"{_iso()}; Chinese names: {_cldr()}",
        ("alpha2", "alpha3", "numeric", "name", "zh", "official"),
        (
            (
                c.alpha_2,
                c.alpha_3,
                c.numeric,
                c.name,
                names.get(c.alpha_2, ""),
                getattr(c, "official_name", ""),
            )
            for c in sorted(pycountry.countries, key=lambda c: str(c.alpha_2))
        ),
    )


def subdivisions(folder: Path) -> str:
    """Return the subdivisions of ISO 3166-2."""
    pycountry = import_module("pycountry")
    english = _cldr_names(folder / "en")
    rows = []
    for one in sorted(pycountry.subdivisions, key=lambda s: str(s.code)):
        name = english.get(one.code.replace("-", "").lower(), one.name)
        rows.append((one.code, one.parent_code or "", name, _PROVINCES.get(one.code, "")))
    return _file(
        _iso_version(),
        f"{_iso()}; names: Unicode CLDR (Unicode-3.0)",
        ("code", "parent", "name", "zh"),
        rows,
    )


def _cldr_names(folder: Path) -> Mapping[str, str]:
    (file,) = folder.glob("*.json")
    content = json.loads(file.read_text("utf-8"))["subdivisions"]
    names: Mapping[str, str] = content["localeDisplayNames"]["subdivisions"]
    return names


def currencies(zh: Any) -> str:
    """Return the currencies and funds of ISO 4217."""
    pycountry = import_module("pycountry")
    return _file(
        _iso_version(),
        f"{_iso()}; Chinese names: {_cldr()}",
        ("code", "numeric", "name", "zh"),
        (
            (c.alpha_3, c.numeric, c.name, zh.currencies.get(c.alpha_3, ""))
            for c in sorted(pycountry.currencies, key=lambda c: str(c.alpha_3))
        ),
    )


def time_zones(zh: Any) -> str:
    """Return the names of the time zones, with the Chinese name of the city."""
    version = import_module("tzdata").IANA_VERSION
    listed = (resources.files("tzdata") / "zones").read_text("utf-8").split()
    return _file(
        version,
        f"IANA time zone database {version}; Chinese names: {_cldr()}",
        ("code", "zh"),
        ((zone, dict(zh.time_zones.get(zone, {})).get("city", "")) for zone in sorted(listed)),
    )


def dicom() -> str:
    """Return the codes of DICOM PS3.16 annex D."""
    concepts = import_module("pydicom.sr._concepts_dict").concepts
    edition = import_module("pydicom._version").__concepts_version__
    rows = sorted(
        {
            code: meaning
            for found in concepts["DCM"].values()
            for code, (meaning, _) in found.items()
        }.items()
    )
    return _file(
        edition,
        f"DICOM PS3.16 annex D of {edition} as in pydicom {_version('pydicom')}",
        ("code", "name"),
        rows,
    )


def _file(version: str, source: str, columns: Row, rows: Iterable[Row]) -> str:
    return "\n".join(_lines(version, source, columns, rows)) + "\n"


def _lines(version: str, source: str, columns: Row, rows: Iterable[Row]) -> Iterator[str]:
    yield f"# source: {source}"
    yield f"# version: {version}"
    yield "# written by tools/build_code_lists.py; do not edit"
    yield "\t".join(columns)
    for row in rows:
        yield "\t".join(row).rstrip("\t")


def _cldr() -> str:
    return f"Unicode CLDR (Unicode-3.0) as in babel {_version('babel')}"


def _iso() -> str:
    return f"ISO codes and short names as in pycountry {_version('pycountry')}"


def _iso_version() -> str:
    """Return the day of the lists: pycountry is released as year.month.day."""
    year, month, day = (int(part) for part in _version("pycountry").split("."))
    return f"20{year}-{month:02}-{day:02}"


def _version(package: str) -> str:
    return metadata.version(package)


if __name__ == "__main__":
    main()
