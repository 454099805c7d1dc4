"""Data of the measurements: heart rates and other vital signs of a thousand patients."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

PATIENTS = 1000
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
# code, unit, low, high; the first has the largest share of the rows, as in a real ward
CODES = [
    ("8867-4", "/min", 40, 180),
    ("59408-5", "%", 80, 100),
    ("9279-1", "/min", 8, 40),
    ("8310-5", "Cel", 35, 41),
    ("8480-6", "mm[Hg]", 80, 200),
    ("8462-4", "mm[Hg]", 40, 120),
    ("2339-0", "mg/dL", 50, 300),
    ("29463-7", "kg", 3, 150),
    ("8302-2", "cm", 50, 210),
    ("718-7", "g/dL", 6, 19),
]
_WEIGHTS = [1 / (n + 1) for n in range(len(CODES))]


def patients_of(count: int) -> int:
    """Return how many patients `count` observations are of: a hundred each, 1,000 at least."""
    return max(PATIENTS, count // 100)


def patient(number: int) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": f"p{number}",
        "identifier": [{"system": "urn:x-yilian:bench", "value": f"B{number:05d}"}],
        "name": [{"family": f"Fam{number % 97}", "given": [f"G{number}"]}],
        "gender": "female" if number % 2 else "male",
        "birthDate": f"{1930 + number % 90}-{1 + number % 12:02d}-{1 + number % 28:02d}",
    }


def observation(rnd: random.Random, patients: int = PATIENTS) -> dict[str, Any]:
    code, unit, low, high = rnd.choices(CODES, _WEIGHTS)[0]
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": CATEGORY, "code": "vital-signs"}]}],
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": f"Patient/p{rnd.randrange(patients)}"},
        "effectiveDateTime": f"2026-{rnd.randrange(1, 13):02d}-{rnd.randrange(1, 29):02d}"
        f"T{rnd.randrange(24):02d}:{rnd.randrange(60):02d}:{rnd.randrange(60):02d}Z",
        "valueQuantity": {
            "value": round(rnd.uniform(low, high), 1),
            "unit": unit,
            "system": UCUM,
            "code": unit,
        },
        "note": [{"text": "Taken at rest, patient lying. " * 12}],
    }


def _entry(resource: dict[str, Any], method: str, url: str) -> dict[str, Any]:
    return {"resource": resource, "request": {"method": method, "url": url}}


def transactions(count: int, size: int = 100, seed: int = 1) -> Iterator[bytes]:
    """Yield transactions that together make all patients and `count` observations."""
    rnd = random.Random(seed)
    entries = [_entry(patient(n), "PUT", f"Patient/p{n}") for n in range(PATIENTS)]
    entries += [_entry(observation(rnd), "POST", "Observation") for _ in range(count)]
    for start in range(0, len(entries), size):
        yield json.dumps(
            {
                "resourceType": "Bundle",
                "type": "transaction",
                "entry": entries[start : start + size],
            }
        ).encode()
