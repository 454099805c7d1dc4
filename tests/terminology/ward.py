"""A small world of codes for the tests: wards of a hospital, in two versions and two languages."""

from __future__ import annotations

from typing import Any

from app.errors import YilianError
from app.terminology.call import Call
from app.terminology.catalogue import Definitions
from app.terminology.issues import outcome_of
from app.terminology.service import Terminology

Json = dict[str, Any]

WARD = "http://hospital.example/CodeSystem/ward"
SETS = "http://hospital.example/ValueSet/"


def concept(code: str, display: str, *below: Json, **more: Any) -> Json:
    zh = more.pop("zh", None)
    out = {"code": code, "display": display, **more}
    if zh:
        out["designation"] = [{"language": "zh-CN", "value": zh}, *more.get("designation", ())]
    return out | ({"concept": list(below)} if below else {})


def prop(code: str, **value: Any) -> Json:
    return {"code": code, **value}


def wards(version: str = "2.0.0", *more: Json, **header: Any) -> Json:
    """Return the code system: a surgical branch, a closed ward, a group that is no ward."""
    return {
        "resourceType": "CodeSystem",
        "url": WARD,
        "version": version,
        "name": "Wards",
        "status": "active",
        "language": "en",
        "content": "complete",
        "caseSensitive": True,
        "property": [
            {
                "code": "status",
                "type": "code",
                "uri": "http://hl7.org/fhir/concept-properties#status",
            },
            {
                "code": "abstract",
                "type": "boolean",
                "uri": "http://hl7.org/fhir/concept-properties#notSelectable",
            },
            {"code": "beds", "type": "integer", "uri": "http://hospital.example/beds"},
        ],
        "concept": [
            concept(
                "surg",
                "Surgery",
                concept("card", f"Cardiac surgery {version}", zh="心脏外科"),
                concept("neuro", "Neurosurgery", property=[prop("beds", valueInteger=24)]),
                property=[prop("abstract", valueBoolean=True)],
                definition="All that cut",
            ),
            concept("paed", "Paediatrics", zh="儿科"),
            concept("tb", "Tuberculosis", property=[prop("status", valueCode="retired")]),
            *more,
        ],
        **header,
    }


def value_set(name: str, *include: Json, **more: Any) -> Json:
    exclude = more.pop("exclude", None)
    compose: Json = {"include": list(include), **more.pop("compose", {})}
    if exclude:
        compose["exclude"] = exclude
    return {
        "resourceType": "ValueSet",
        "url": SETS + name,
        "version": "1",
        "name": name,
        "status": "active",
        "compose": compose,
        **more,
    }


def only(op: str, value: str, name: str = "concept") -> Json:
    return {"system": WARD, "filter": [{"property": name, "op": op, "value": value}]}


def listed(*codes: str, **more: Any) -> Json:
    return {"system": WARD, "concept": [{"code": code} for code in codes], **more}


ALL = value_set("all", {"system": WARD})
SURGICAL = value_set("surgical", only("is-a", "surg"))

TERMINOLOGY = Terminology([Definitions()])


def call(
    *resources: Json, header: str | None = None, most: int | None = None, **given: Any
) -> Call:
    """Return a call; `_` in names of parameters stands for `-`. most: codes of an expansion."""
    values = {
        name.replace("_", "-"): value if isinstance(value, list) else [value]
        for name, value in given.items()
    }
    inputs = {**values, "tx-resource": list(resources)}
    return Call(inputs, TERMINOLOGY.catalogue(inputs), accept_language=header, limit=most)


def answer(operation: Any, *resources: Json, **given: Any) -> Json:
    """Return what an operation answers, an OperationOutcome when it refuses. See `call`."""
    try:
        result: Json = operation(call(*resources, **given))
    except YilianError as error:
        result = outcome_of(error)
    return result


def parameter(of: Json, name: str) -> Any:
    """Return the value of a parameter, None without it."""
    for one in of["parameter"]:
        if one["name"] == name:
            return next(v for k, v in one.items() if k != "name")
    return None


def issues(of: Json) -> list[tuple[str, str, str | None]]:
    """Return severity, message id and place of each issue."""
    outcome = of if of["resourceType"] == "OperationOutcome" else parameter(of, "issues")
    return [
        (
            one["severity"],
            one.get("extension", [{}])[0].get("valueString", one["details"]["text"]),
            one.get("expression", [None])[0],
        )
        for one in (outcome or {"issue": []})["issue"]
    ]


def codes(of: Json) -> list[Any]:
    """Return the codes of an expansion, those nested below as a list after their code."""
    return _codes(of["expansion"].get("contains", []))


def _codes(contains: list[Json]) -> list[Any]:
    found: list[Any] = []
    for one in contains:
        found.append(one["code"])
        if "contains" in one:
            found.append(_codes(one["contains"]))
    return found


def echoed(of: Json) -> dict[str, Any]:
    """Return the parameters of an expansion."""
    return {
        one["name"]: next(v for k, v in one.items() if k != "name")
        for one in of["expansion"]["parameter"]
    }
