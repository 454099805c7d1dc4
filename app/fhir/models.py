"""Resources as typed models: the one place that knows fhir.resources.

fhir.resources 8 has no models of R4 (4.0.1); those of R4B (4.3) stand for it. They differ from R4
in few types, which are the ones whose resources R4 has and R4B dropped: these have no model here.
A resource that is valid R4 but not R4B (an element R4B renamed or made mandatory) cannot be a
model either and is refused when it is loaded; as a dict it can always be had.

Import this module only where models are asked for: it takes as long as the rest of the house.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

from fhir.resources.R4B import get_fhir_model_class
from fhir.resources.R4B.resource import Resource
from fhir_core.fhirabstractmodel import FHIRAbstractModel
from pydantic import ValidationError

from app.errors import Invalid, Issue, NotSupported

Json = dict[str, Any]
Model = Resource

# R4 resource types that R4B does not have.
MISSING = frozenset(
    (
        "EffectEvidenceSynthesis",
        "MedicinalProduct",
        "MedicinalProductAuthorization",
        "MedicinalProductContraindication",
        "MedicinalProductIndication",
        "MedicinalProductIngredient",
        "MedicinalProductInteraction",
        "MedicinalProductManufactured",
        "MedicinalProductPackaged",
        "MedicinalProductPharmaceutical",
        "MedicinalProductUndesirableEffect",
        "RiskEvidenceSynthesis",
        "SubstanceNucleicAcid",
        "SubstancePolymer",
        "SubstanceProtein",
        "SubstanceReferenceInformation",
        "SubstanceSourceMaterial",
        "SubstanceSpecification",
    )
)


def load(type_name: str, resource: Mapping[str, Any]) -> Model:
    """Return a resource as its R4B model; decimals stay exact when they come as Decimal.

    Raises NotSupported for an R4 type without a model, Invalid for what R4B does not allow.
    """
    require(type_name)
    try:
        return cast(Model, get_fhir_model_class(type_name).model_validate(resource))
    except ValidationError as exc:
        raise Invalid.of(_issue(type_name, error["loc"]) for error in exc.errors()) from None


def dump(model: object) -> Json:
    """Return a model as FHIR JSON. Raises Invalid for what is no model of a resource.

    Decimals come back with their digits (the library's own dump rounds them to floats); times
    as the model holds them, so that a fraction of zero is lost: 10:00:00.000 becomes 10:00:00.
    """
    if not isinstance(model, Model):
        raise Invalid("a resource is a dict or a fhir.resources model of R4B")
    dumped: Json = model.model_dump(mode="json")
    _restore_decimals(model, dumped)
    return dumped


def require(type_name: str) -> None:
    """Raise NotSupported when a resource type of R4 has no R4B model."""
    if type_name in MISSING:
        raise NotSupported(
            "This type of R4 has no model in fhir.resources (R4B dropped it); take it as a dict",
            at=type_name,
        )


def _issue(type_name: str, place: tuple[str | int, ...]) -> Issue:
    """Return what is wrong at one place, without the value that the library's message repeats."""
    at = type_name
    for step in place:
        at += f"[{step}]" if isinstance(step, int) else f".{step}"
    return Issue("error", Invalid.code, "the R4B model does not allow this", at)


def _restore_decimals(model: FHIRAbstractModel, dumped: Json) -> None:
    for name, described in type(model).model_fields.items():
        key, value = described.alias or name, getattr(model, name)
        if isinstance(value, Decimal):
            dumped[key] = value
        elif isinstance(value, FHIRAbstractModel):
            _restore_decimals(value, dumped[key])
        elif isinstance(value, list):
            for each, its_dump in zip(value, dumped.get(key, ()), strict=False):
                if isinstance(each, FHIRAbstractModel):
                    _restore_decimals(each, its_dump)
