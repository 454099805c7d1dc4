"""Build the compact R4 definitions that ship inside `app/fhir/r4/`.

    python -m tools.build_definitions hl7.fhir.r4.core.tgz [OUT_DIR]

Input is the published package hl7.fhir.r4.core 4.0.1 (CC0-1.0). Output is one gzip JSON file per
part and `manifest.json`, which names the source, its version and the SHA-256 of the package and
of every part (of the JSON, because deflate is free to differ between builds of zlib). The same
package gives the same bytes.

Left out: narrative, prose (descriptions, definitions, comments, the sentences of invariants),
publishers, the examples of the package, search parameters without a base, expansions.
Kept as they are: codes, displays, designations, expressions, copyright statements.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from app.fhir import listing

Json = dict[str, Any]

HERE = Path(__file__).resolve().parent
DEFAULT_OUT = HERE.parent / "app" / "fhir" / "r4"
STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"
FHIR_TYPE = STRUCTURE + "structuredefinition-fhir-type"
REGEX = STRUCTURE + "regex"
BEST_PRACTICE = STRUCTURE + "elementdefinition-bestpractice"
REPLACED_BY = STRUCTURE + "codesystem-replacedby"

# Which members of a canonical resource are facts. Everything else is prose or bookkeeping.
_CANONICAL = (
    *("resourceType", "id", "url", "identifier", "version", "name", "title", "status"),
    *("experimental", "date", "copyright"),
)
_KEEP: Mapping[str, tuple[str, ...]] = {
    "SearchParameter": (
        *("id", "url", "name", "code", "base", "type", "expression", "xpathUsage", "target"),
        *("component", "comparator", "modifier", "chain", "multipleOr", "multipleAnd", "status"),
        "derivedFrom",
    ),
    "CompartmentDefinition": (*_CANONICAL, "code", "search", "resource"),
    "OperationDefinition": (
        *_CANONICAL,
        *("kind", "affectsState", "code", "base", "resource", "system", "type", "instance"),
        *("inputProfile", "outputProfile", "parameter", "overload"),
    ),
    "CodeSystem": (
        *_CANONICAL,
        *("language", "caseSensitive", "valueSet", "hierarchyMeaning", "compositional"),
        *("versionNeeded", "content", "supplements", "count", "filter", "property", "concept"),
    ),
    "ValueSet": (*_CANONICAL, "language", "immutable", "compose"),
    "ConceptMap": (
        *_CANONICAL,
        *("sourceUri", "sourceCanonical", "targetUri", "targetCanonical", "group"),
    ),
}
# (SearchParameter.component.definition is a canonical, not prose.)
_PROSE = {"text", "description", "documentation", "comment"}
_PROSE_OF_CONCEPTS = _PROSE | {"definition"}

# These hold for every element; the artefact states each once.
_EVERYWHERE = {"ele-1", "ext-1"}
_STATED_HERE = {"Element": ("ele-1",), "Extension": ("ext-1",)}

# Part of the artefact -> the type of the resources in it.
_PARTS = {
    "search_parameters": "SearchParameter",
    "compartments": "CompartmentDefinition",
    "operations": "OperationDefinition",
    "code_systems": "CodeSystem",
    "value_sets": "ValueSet",
    "concept_maps": "ConceptMap",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("package", type=Path, help="hl7.fhir.r4.core package (.tgz)")
    parser.add_argument("out", type=Path, nargs="?", default=DEFAULT_OUT, help="folder to write to")
    arguments = parser.parse_args()
    for name, size in write(build(arguments.package.read_bytes()), arguments.out).items():
        print(f"{name:28} {size:>9,} bytes")


def build(package: bytes) -> dict[str, bytes]:
    """Return file name -> content of the artefact made from the package's bytes."""
    about, resources = _read(package)
    parts: dict[str, Json] = dict(_structures(resources))
    for part, resource_type in _PARTS.items():
        parts[part] = {
            r["url"]: _facts(r, _KEEP[resource_type])
            for r in resources
            if r["resourceType"] == resource_type and _usable(r)
        }
    parts["required_codes"] = _required_codes(parts)
    texts = {part: _text(content) for part, content in sorted(parts.items())}
    manifest = {
        "package": about["name"],
        "version": about["version"],
        "license": about["license"],
        "resource_types": sorted(
            name
            for name, s in parts["structures"].items()
            if s["kind"] == "resource" and not s.get("abstract")
        ),
        "sha256": hashlib.sha256(package).hexdigest(),
        "parts": {
            part: {"entries": len(parts[part]), "sha256": hashlib.sha256(text).hexdigest()}
            for part, text in texts.items()
        },
    }
    files = {f"{part}.json.gz": _gzip(text) for part, text in texts.items()}
    files["manifest.json"] = (json.dumps(manifest, indent=2) + "\n").encode()
    return files


def write(files: Mapping[str, bytes], out: Path) -> dict[str, int]:
    """Write the files and return their sizes."""
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (out / name).write_bytes(content)
    return {name: len(content) for name, content in files.items()}


def _read(package: bytes) -> tuple[Json, list[Json]]:
    """Return package.json and the definitions in the package, sorted by url, examples left out."""
    about: Json = {}
    resources: list[Json] = []
    with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as archive:
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            if folder != "package" or not name.endswith(".json"):
                continue
            file = archive.extractfile(member)
            if file is None:
                continue
            content: Json = json.load(file)
            if name == "package.json":
                about = content
            elif content.get("url") and not _example(content):
                resources.append(content)
    resources.sort(key=lambda r: (r["resourceType"], r["url"]))
    return about, resources


def _example(resource: Json) -> bool:
    name: str = resource["id"]
    return name == "example" or name.startswith("example-")


def _usable(resource: Json) -> bool:
    """A search parameter without a base belongs to no type (ten in the package)."""
    return resource["resourceType"] != "SearchParameter" or "base" in resource


def _facts(resource: Json, keep: Iterable[str]) -> Json:
    prose = _PROSE_OF_CONCEPTS if resource["resourceType"] == "CodeSystem" else _PROSE
    return {name: _strip(resource[name], prose) for name in keep if name in resource}


def _strip(value: Any, prose: Set[str]) -> Any:
    """Return the value without prose and without extensions, but `replaced by`, which is a fact."""
    if isinstance(value, list):
        return [_strip(item, prose) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _strip(member, prose) for name, member in value.items() if name not in prose}
    extensions = [e for e in kept.pop("extension", ()) if e.get("url") == REPLACED_BY]
    return kept | {"extension": extensions} if extensions else kept


def _structures(resources: list[Json]) -> Iterator[tuple[str, Json]]:
    """Yield the base structures by type name, and the profiles by url."""
    definitions = [
        r for r in resources if r["resourceType"] == "StructureDefinition" and "snapshot" in r
    ]
    base = {r["url"]: r for r in definitions if _is_base(r)}
    profiles = {r["url"]: r for r in definitions if not _is_base(r)}
    yield (
        "structures",
        {r["type"]: _structure(r, _inherited(r, base)) for r in base.values()},
    )
    yield (
        "profiles",
        {
            url: _structure(r, _inherited(r, base | profiles))
            | {name: r[name] for name in ("url", "id", "name", "type", "context") if name in r}
            for url, r in profiles.items()
        },
    )


def _is_base(definition: Json) -> bool:
    return bool(definition["kind"] != "logical" and definition.get("derivation") != "constraint")


def _inherited(definition: Json, known: Mapping[str, Json]) -> set[str]:
    """Return the keys of the invariants that the definition's ancestors already hold."""
    keys: set[str] = set()
    parent = known.get(definition.get("baseDefinition", ""))
    while parent:
        keys |= {c["key"] for e in parent["snapshot"]["element"] for c in e.get("constraint", ())}
        parent = known.get(parent.get("baseDefinition", ""))
    return keys


def _structure(definition: Json, inherited: set[str]) -> Json:
    elements = definition["snapshot"]["element"]
    parent = definition.get("baseDefinition", "").removeprefix(STRUCTURE)
    own = {
        c["key"]: _invariant(c)
        for e in elements
        for c in e.get("constraint", ())
        if c["key"] not in inherited
        and (c["key"] not in _EVERYWHERE or definition["type"] in _STATED_HERE)
    }
    structure: Json = {
        "kind": definition["kind"],
        "elements": [_element(e, definition) for e in elements],
    }
    if definition["abstract"]:
        structure["abstract"] = True
    if parent:
        structure["base"] = parent
    if own:
        structure["invariants"] = own
    return structure


def _invariant(constraint: Json) -> Json:
    found = {"severity": constraint["severity"]}
    if "expression" in constraint:
        found["expression"] = constraint["expression"]
    if any(e["url"] == BEST_PRACTICE for e in constraint.get("extension", ())):
        found["best_practice"] = True
    return found


def _element(element: Json, definition: Json) -> Json:
    """Return the facts of one ElementDefinition; what is absent has its usual value."""
    found: Json = {"path": element["path"]}
    if element["id"] != element["path"]:
        found["id"] = element["id"]
    if element["min"]:
        found["min"] = element["min"]
    if element["max"] != "1":
        found["max"] = element["max"]
    if types := [_type(t, element, definition) for t in element.get("type", ())]:
        found["types"] = types
    if "contentReference" in element:
        found["ref"] = element["contentReference"].removeprefix("#")
    if "binding" in element:
        found["binding"] = _binding(element["binding"])
    keys = [c["key"] for c in element.get("constraint", ()) if c["key"] not in _EVERYWHERE]
    keys += _STATED_HERE.get(element["path"], ())
    if keys:
        found["constraints"] = keys
    if "representation" in element:
        found["xml"] = element["representation"][0]
    if element.get("isModifier"):
        found["modifier"] = True
    if element.get("isSummary"):
        found["summary"] = True
    found.update(
        (name, element[name])
        for name in element
        if name in {"sliceName", "slicing", "mustSupport", "maxLength", "orderMeaning"}
        or name.startswith(("fixed", "pattern", "minValue", "maxValue"))
    )
    if "slicing" in found:
        found["slicing"] = _strip(found["slicing"], _PROSE)
    return found


def _type(entry: Json, element: Json, definition: Json) -> Json:
    """Return one type of an element, with the FHIR type in place of a FHIRPath System type.

    Deviation: the package types Resource.id as string; resource.html#id says it is an id.
    """
    extensions = {e["url"]: e for e in entry.get("extension", ())}
    found: Json = {"code": entry["code"]}
    if entry["code"].startswith("http://hl7.org/fhirpath/"):
        fhir_type = extensions.get(FHIR_TYPE, {}).get("valueUrl", "string")
        is_resource_id = element["base"]["path"] == "Resource.id"
        found["code"] = "id" if is_resource_id else fhir_type
    if REGEX in extensions:
        found["regex"] = extensions[REGEX]["valueString"]
    if "targetProfile" in entry:
        found["targets"] = [t.removeprefix(STRUCTURE) for t in entry["targetProfile"]]
    if "profile" in entry:
        found["profiles"] = [p.removeprefix(STRUCTURE) for p in entry["profile"]]
    return found


def _binding(binding: Json) -> Json:
    return {name: binding[name] for name in ("strength", "valueSet") if name in binding}


def _required_codes(parts: Mapping[str, Json]) -> Json:
    """Return value set url -> system -> codes for the required bindings of base structures.

    The validators need only these, and need them at once.
    """
    bindings = {
        element["binding"]["valueSet"].partition("|")[0]
        for structure in parts["structures"].values()
        for element in structure["elements"]
        if element.get("binding", {}).get("strength") == "required"
    }
    listed = {
        url: listing.codes(url, parts["value_sets"].get, parts["code_systems"].get)
        for url in bindings
    }
    return {
        url: {system: sorted(found) for system, found in codes.items()}
        for url, codes in listed.items()
        if codes is not None
    }


def _text(content: Json) -> bytes:
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _gzip(text: bytes) -> bytes:
    """Compress without a file name or a time, so that equal text gives equal bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as file:
        file.write(text)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
