"""$lookup, $validate-code, $batch-validate-code and $expand: the terminology operations of R4.

R4 terminology-service.html. What they do is in `app/terminology`; here is where they are called.
"""

from __future__ import annotations

from app.rest.operations import terms
from app.terminology import expand, lookup, validate_code

_OWN = "https://yilian.example/fhir/OperationDefinition/"

EXPAND = terms.operation(
    expand.expand,
    "ValueSet-expand",
    types=("ValueSet",),
    levels=("type", "instance"),
    subject={"ValueSet": "valueSet"},
)
LOOKUP = terms.operation(
    lookup.lookup,
    "CodeSystem-lookup",
    types=("CodeSystem",),
    levels=("type", "instance"),
    subject={"CodeSystem": "codeSystem"},
)
VALIDATE_CODE = terms.operation(
    {"ValueSet": validate_code.in_value_set, "CodeSystem": validate_code.in_code_system},
    "{type}-validate-code",
    types=("CodeSystem", "ValueSet"),
    levels=("type", "instance"),
    subject={"ValueSet": "valueSet", "CodeSystem": "codeSystem"},
)
BATCH_VALIDATE_CODE = terms.operation(
    validate_code.batch, _OWN + "ValueSet-batch-validate-code", types=("ValueSet",)
)
