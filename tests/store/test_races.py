"""Writers that make the same rows at once: nobody is told of it."""

from concurrent.futures import ThreadPoolExecutor

import orjson

from app.store.types import Change, Method

PATIENTS = [f"p{n}" for n in range(150)]


def test_resources_are_put_while_others_refer_to_them(kit):
    def put(part: int) -> None:
        kit.store.commit([patient(id_) for id_ in PATIENTS[part::3]])

    def refer(seed: int) -> None:
        order = sorted(PATIENTS, key=lambda id_: int(id_[1:]) * (31 + 2 * seed) % 151)
        for start in range(0, len(order), 10):
            kit.store.commit([observation(id_) for id_ in order[start : start + 10]])

    with ThreadPoolExecutor(6) as pool:
        done = [pool.submit(put, part) for part in range(3)]
        done += [pool.submit(refer, seed) for seed in range(3)]
        for each in done:
            each.result()

    assert all(kit.store.read("Patient", id_).version_id == 1 for id_ in PATIENTS)
    assert len(kit.found("Observation", "patient=p149")) == 3


def test_the_same_criteria_in_other_words_make_one_resource(kit):
    spellings = [
        "identifier=urn:s|{}&family=x",
        "identifier=urn%3As%7C{}&family=x",
        "?family=x&identifier=urn:s%7C{}",
    ]

    def write(number: int) -> None:
        value, spelling = number // 12, spellings[number % 3]
        body = {
            "resourceType": "Patient",
            "identifier": [{"system": "urn:s", "value": f"v{value}"}],
            "name": [{"family": "x"}],
        }
        method = (Method.CREATE, Method.UPDATE)[number % 2]
        criteria = spelling.format(f"v{value}")
        kit.store.commit([Change(method, "Patient", body=orjson.dumps(body), criteria=criteria)])

    with ThreadPoolExecutor(6) as pool:
        for each in [pool.submit(write, number) for number in range(120)]:
            each.result()

    assert len(kit.found("Patient", "family=x&_count=100")) == 10


def patient(id_: str) -> Change:
    body = {"resourceType": "Patient", "id": id_}
    return Change(Method.UPDATE, "Patient", id=id_, body=orjson.dumps(body))


def observation(patient: str) -> Change:
    body = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "pulse"},
        "subject": {"reference": f"Patient/{patient}"},
    }
    return Change(Method.CREATE, "Observation", body=orjson.dumps(body))
