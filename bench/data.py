"""Data of the measurements: vital signs of a thousand patients or more, and what is asked."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

PATIENTS = 1000
DEVICES = 1000
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


def device(number: int) -> dict[str, Any]:
    return {
        "resourceType": "Device",
        "id": f"d{number}",
        "status": "active",
        "deviceName": [{"name": f"Pump {number}", "type": "user-friendly-name"}],
        "udiCarrier": [{"carrierHRF": udi(number)}],
    }


def udi(number: int) -> str:
    return f"(01)09521234000037(21)B{number:05d}"


# --- what is asked of them -----------------------------------------------------------------------

_HEART_RATE = "code=http://loinc.org%7C8867-4"
_IDENTIFIER = "identifier=urn:x-yilian:bench%7C"


def _date(rnd: random.Random) -> str:
    return f"2026-{rnd.randrange(1, 12):02d}-{rnd.randrange(1, 29):02d}"


def _code(rnd: random.Random) -> str:
    return f"code=http://loinc.org%7C{rnd.choice(CODES)[0]}"


# name -> an address with values of its own; the second argument is the number of patients
SEARCHES: dict[str, Callable[[random.Random, int], str]] = {
    "patient+code+date, sorted": lambda rnd, n: (
        f"Observation?patient=Patient/p{rnd.randrange(n)}&{_HEART_RATE}&date=ge{_date(rnd)}"
        "&_sort=-date&_count=20"
    ),
    "token": lambda rnd, n: f"Observation?{_code(rnd)}&_count=20",
    "identifier": lambda rnd, n: f"Patient?{_IDENTIFIER}B{rnd.randrange(n):05d}",
    "string prefix": lambda rnd, n: f"Patient?family=Fam{rnd.randrange(97)}&_count=20",
    "chain by identifier": lambda rnd, n: (
        f"Observation?patient.{_IDENTIFIER}B{rnd.randrange(n):05d}&{_HEART_RATE}"
        "&_sort=-date&_count=20"
    ),
    "chain by name": lambda rnd, n: (
        f"Observation?patient.family=Fam{rnd.randrange(97)}&{_HEART_RATE}&_sort=-date&_count=20"
    ),
    "_has": lambda rnd, n: (
        f"Patient?_has:Observation:patient:{_code(rnd)}&gender={rnd.choice(('male', 'female'))}"
        "&_count=20"
    ),
    "_include": lambda rnd, n: (
        f"Observation?{_HEART_RATE}&date=le{_date(rnd)}&_include=Observation:patient"
        "&_sort=-date&_count=20"
    ),
    "three tokens": lambda rnd, n: (
        f"Observation?{_code(rnd)}&status=final&category=vital-signs&_sort=-date&_count=20"
    ),
    "patient and three tokens": lambda rnd, n: (
        f"Observation?patient=Patient/p{rnd.randrange(n)}&{_code(rnd)}&status=final"
        "&category=vital-signs&_sort=-date&_count=20"
    ),
    "sort by value": lambda rnd, n: (
        f"Observation?patient=Patient/p{rnd.randrange(n)}&{_HEART_RATE}"
        "&_sort=-value-quantity&_count=20"
    ),
}


def searches(name: str, count: int, patients: int, seed: int = 7) -> list[str]:
    """Return `count` addresses below the base, of one kind of search."""
    rnd = random.Random(seed)
    return [SEARCHES[name](rnd, patients) for _ in range(count)]
