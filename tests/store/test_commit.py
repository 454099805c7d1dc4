"""The write path. R4 http.html: create, update, delete, conditional variants, transactions."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256

import pytest

from app.errors import (
    Conflict,
    Invalid,
    NotFound,
    PreconditionFailed,
    Unavailable,
    UnknownType,
)
from app.store.database import Address, connect
from app.store.seal import chained
from app.store.types import Change, Method, Result
from app.store.writer import _Job

PATIENT = {"resourceType": "Patient", "name": [{"family": "王"}], "gender": "female"}


def observation(**more):
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **more}


def test_create_gives_id_version_and_time_and_keeps_the_bytes(kit):
    sent = (
        b'{ "resourceType":"Observation","id":"mine","status":"final",\n"code":{"text":"x"},'
        b'"valueQuantity":{"value":72.10}}'
    )

    outcome = kit.store.commit([Change(Method.CREATE, "Observation", body=sent)])[0]

    assert outcome.result is Result.CREATED
    assert outcome.id != "mine"
    assert outcome.version_id == 1
    assert kit.store.read("Observation", outcome.id).body == (
        b'{"resourceType":"Observation","id":"%b","meta":{"versionId":"1",'
        b'"lastUpdated":"2026-03-01T08:00:00.000Z"},"status":"final","code":{"text":"x"},'
        b'"valueQuantity":{"value":72.10}}' % outcome.id.encode()
    )


def test_update_makes_a_version_and_keeps_the_one_before(kit):
    first = kit.create(PATIENT)
    kit.clock.move(timedelta(seconds=1))

    second = kit.update({**PATIENT, "id": first.id, "gender": "other"})

    assert (second.result, second.version_id) == (Result.UPDATED, 2)
    assert second.last_updated_us - first.last_updated_us == 1_000_000
    assert kit.store.vread("Patient", first.id, "1").body == first.body
    assert kit.store.read("Patient", first.id).body == second.body


def test_an_update_keeps_tags_it_does_not_name(kit):
    tag = [{"system": "s", "code": "red"}]
    first = kit.create({**PATIENT, "meta": {"tag": tag, "source": "urn:a"}})

    second = kit.update({**PATIENT, "id": first.id, "meta": {"profile": ["http://p"]}})

    meta = json.loads(second.body)["meta"]
    assert meta["tag"] == tag
    assert meta["profile"] == ["http://p"]
    assert "source" not in meta


def test_update_creates_under_a_client_id_and_after_a_delete_goes_on_counting(kit):
    assert kit.update({**PATIENT, "id": "c1"}).result is Result.CREATED
    assert kit.delete("Patient", "c1").version_id == 2

    again = kit.update({**PATIENT, "id": "c1"})

    assert (again.result, again.version_id) == (Result.CREATED, 3)


def test_deleting_what_is_not_there_does_nothing(kit):
    assert kit.delete("Patient", "never").result is Result.ABSENT


@pytest.mark.parametrize(("tags", "fits"), [(("1",), True), (("7", "1"), True), (("2",), False)])
def test_if_match_names_the_current_version(kit, tags, fits):
    first = kit.create(PATIENT)
    changed = {**PATIENT, "id": first.id, "active": True}

    if fits:
        assert kit.update(changed, if_match=tags).version_id == 2
    else:
        with pytest.raises(PreconditionFailed):
            kit.update(changed, if_match=tags)


def test_create_only_refuses_an_id_that_exists(kit):
    kit.update({**PATIENT, "id": "c1"}, create_only=True)

    with pytest.raises(PreconditionFailed):
        kit.update({**PATIENT, "id": "c1"}, create_only=True)


@pytest.mark.parametrize(
    ("change", "error", "at"),
    [
        (Change(Method.CREATE, "Patientt", body=b"{}"), UnknownType, None),
        (
            Change(Method.CREATE, "Patient", body=b'{"resourceType":"Group"}'),
            Invalid,
            "resourceType",
        ),
        (
            Change(Method.CREATE, "Patient", body=b'{"resourceType":"Patient","gender":"man"}'),
            Invalid,
            "Patient.gender",
        ),
        (
            Change(Method.UPDATE, "Patient", "a", b'{"resourceType":"Patient"}'),
            Invalid,
            "Patient.id",
        ),
        (
            Change(Method.UPDATE, "Patient", "a", b'{"resourceType":"Patient","id":"b"}'),
            Invalid,
            "Patient.id",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(kit, change, error, at):
    with pytest.raises(error) as caught:
        kit.store.commit([change])

    assert caught.value.at == at


# --- conditional ---------------------------------------------------------------------------------


def identified(value, **more):
    return {**PATIENT, "identifier": [{"system": "urn:s", "value": value}], **more}


def test_conditional_create_names_the_one_match_and_refuses_several(kit):
    criteria = "identifier=urn:s%7Cv1"
    first = kit.create(identified("v1"), criteria=criteria)

    again = kit.create(identified("v1"), criteria=criteria)

    assert (first.result, again.result) == (Result.CREATED, Result.UNCHANGED)
    assert (again.id, again.version_id) == (first.id, 1)
    kit.create(identified("v1"))
    with pytest.raises(PreconditionFailed) as caught:
        kit.create(identified("v1"), criteria=criteria)
    assert caught.value.issues[0].code == "multiple-matches"


def test_conditional_update_creates_updates_or_refuses_another_id(kit):
    def put(resource):
        body = json.dumps(resource).encode()
        change = Change(Method.UPDATE, "Patient", body=body, criteria="identifier=urn:s|v1")
        return kit.store.commit([change])[0]

    first = put(identified("v1"))
    second = put(identified("v1", active=True))

    assert (first.result, second.result) == (Result.CREATED, Result.UPDATED)
    assert second.id == first.id
    with pytest.raises(Invalid):
        put(identified("v1", id="other"))


def test_conditional_delete_takes_one(kit):
    first = kit.create(identified("v1"))
    change = Change(Method.DELETE, "Patient", criteria="identifier=urn:s|v1")

    assert kit.store.commit([change])[0].id == first.id
    assert kit.store.commit([change])[0].result is Result.ABSENT


def test_criteria_with_an_unknown_parameter_change_nothing(kit):
    first = kit.create(PATIENT)

    with pytest.raises(Invalid.__mro__[1]):
        kit.store.commit([Change(Method.DELETE, "Patient", criteria="identifierr=x")])
    assert kit.store.read("Patient", first.id)


def test_parallel_conditional_creates_make_one_resource(kit):
    def one(_):
        return kit.create(identified("race"), criteria="identifier=urn:s|race")

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(one, range(24)))

    assert len({outcome.id for outcome in outcomes}) == 1
    assert [o.result for o in outcomes].count(Result.CREATED) == 1
    assert len(kit.found("Patient", "identifier=urn:s|race")) == 1


def test_parallel_updates_with_one_version_have_one_winner(kit):
    first = kit.create(PATIENT)

    def one(number):
        try:
            kit.update({**PATIENT, "id": first.id, "active": bool(number % 2)}, if_match=("1",))
        except (PreconditionFailed, Conflict):
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(16))) == 1


def test_parallel_updates_lose_no_version(kit):
    first = kit.create(PATIENT)

    def one(number):
        return kit.update(
            {**PATIENT, "id": first.id, "name": [{"family": f"N{number}"}]}
        ).version_id

    with ThreadPoolExecutor(6) as pool:
        versions = sorted(pool.map(one, range(18)))

    assert versions == list(range(2, 20))
    history = kit.store.history("Patient", first.id, count=50)
    assert history.total == 19


# --- transactions --------------------------------------------------------------------------------


def entries(*parts):
    found = []
    for number, (method, resource, more) in enumerate(parts):
        found.append(
            Change(
                method,
                resource["resourceType"],
                body=json.dumps(resource).encode(),
                entry=number,
                **more,
            )
        )
    return found


def test_references_between_entries_are_rewritten_also_forward_and_around(kit):
    one, two = "urn:uuid:1", "urn:uuid:2"
    outcomes = kit.store.commit(
        entries(
            (
                Method.CREATE,
                {**PATIENT, "link": [{"other": {"reference": two}, "type": "seealso"}]},
                {"full_url": one},
            ),
            (
                Method.CREATE,
                {
                    **PATIENT,
                    "identifier": [{"system": "urn:ietf:rfc:3986", "value": one}],
                    "link": [{"other": {"reference": one}, "type": "seealso"}],
                },
                {"full_url": two},
            ),
        )
    )

    first, second = (json.loads(outcome.body) for outcome in outcomes)
    assert first["link"][0]["other"]["reference"] == f"Patient/{outcomes[1].id}"
    assert second["link"][0]["other"]["reference"] == f"Patient/{outcomes[0].id}"
    assert second["identifier"][0]["value"] == one  # a string, not a reference
    assert kit.found("Patient", f"link=Patient/{outcomes[0].id}") == [outcomes[1].id]


def test_an_entry_that_points_to_a_client_id_of_the_same_set_finds_it(kit):
    change = Change(
        Method.UPDATE, "Patient", "p9", json.dumps({**PATIENT, "id": "p9"}).encode(), entry=1
    )
    outcomes = kit.store.commit(
        [
            *entries(
                (Method.CREATE, observation(subject={"reference": "Patient/p9"}), {}),
            ),
            change,
        ]
    )

    assert kit.found("Observation", "subject=Patient/p9") == [outcomes[0].id]
    assert kit.found("Patient", "_has:Observation:subject:status=final") == ["p9"]


def test_a_failing_entry_undoes_all_and_is_named(kit):
    first = kit.create(PATIENT)
    changed = {**PATIENT, "id": first.id, "gender": "male"}

    with pytest.raises(Invalid) as caught:
        kit.store.commit(
            [
                Change(Method.UPDATE, "Patient", first.id, json.dumps(changed).encode(), entry=0),
                *entries((Method.CREATE, observation(subject={"reference": "urn:uuid:x"}), {})),
            ]
        )

    assert caught.value.at.startswith("Bundle.entry[0]")
    assert kit.store.read("Patient", first.id).version_id == 1


def test_the_same_resource_twice_is_refused(kit):
    first = kit.create(PATIENT)
    body = json.dumps({**PATIENT, "id": first.id}).encode()

    with pytest.raises(Invalid):
        kit.store.commit(
            [Change(Method.UPDATE, "Patient", first.id, body, entry=n) for n in (0, 1)]
        )


def test_a_conditional_reference_needs_exactly_one_match(kit):
    patient = kit.create(identified("v1"))
    made = observation(subject={"reference": "Patient?identifier=urn:s|v1"})

    outcome = kit.store.commit(entries((Method.CREATE, made, {})))[0]

    assert json.loads(outcome.body)["subject"]["reference"] == f"Patient/{patient.id}"
    kit.create(identified("v1"))
    with pytest.raises(PreconditionFailed):
        kit.store.commit(entries((Method.CREATE, made, {})))


# --- what is written beside the body -------------------------------------------------------------


def test_no_index_row_outlives_its_resource(kit):
    first = kit.create(
        observation(
            subject={"reference": "Patient/p"},
            effectivePeriod={"start": "2024"},
            valueQuantity={"value": 5, "unit": "mg"},
            note=[{"text": "n"}],
            identifier=[{"system": "s", "value": "v"}],
        )
    )
    kit.update(observation(id=first.id, valueString="now a text"))

    kit.delete("Observation", first.id)

    db = connect(Address(kit.url))
    for table in ("ix", "str", "qty", "dt", "ident"):
        assert db.all(f"SELECT * FROM {table}") == []  # noqa: S608 - names from above
    db.close()


def test_the_change_log_has_one_chained_row_a_version(kit):
    first = kit.create(PATIENT)
    kit.update({**PATIENT, "id": first.id})
    kit.delete("Patient", first.id)

    db = connect(Address(kit.url))
    rows = db.all("SELECT vid,method,digest FROM log ORDER BY seq")
    assert [row[:2] for row in rows] == [(1, 0), (2, 1), (3, 2)]
    assert (
        rows[0][2]
        == sha256(
            f"0/Patient/{first.id}/1/0/{first.last_updated_us}\n".encode() + first.body
        ).digest()
    )
    if db.dialect == "sqlite":
        digest = b""
        for row in rows:
            digest = chained(digest, [row[2]])
        assert db.one("SELECT digest FROM seal ORDER BY seq DESC") == (digest,)
    db.close()


def test_read_of_an_id_that_is_only_referred_to_is_not_found(kit):
    kit.create(observation(subject={"reference": "Patient/later"}))

    with pytest.raises(NotFound):
        kit.store.read("Patient", "later")
    kit.update({**PATIENT, "id": "later"})
    assert kit.store.read("Patient", "later").version_id == 1
    assert len(kit.found("Observation", "subject=Patient/later")) == 1


def test_what_fails_after_the_commit_does_not_write_it_again(kit):
    def fail(db):
        raise KeyError("programming error")

    kit.store._posted.settle = fail

    kit.create({"resourceType": "Patient"})

    assert len(kit.found("Patient", "")) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_locked_file_is_waited_for_once_for_all(kit):
    writer = kit.store.writer
    writer._db.run("PRAGMA busy_timeout=1")
    begun, begin = [], writer._db.begin
    writer._db.begin = lambda: (begun.append(1), begin())
    told = []
    jobs = [_Job(1, lambda session: None, told.append) for _ in range(3)]
    other = connect(Address(kit.url), write=True)
    other.begin()

    writer._write(jobs)

    other.rollback()
    other.close()
    assert [type(one) for one in told] == [Unavailable] * 3
    assert len(begun) == 1
    writer._write(jobs)
    assert told[3:] == [None] * 3


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("others", [0, 2])
def test_work_that_raises_leaves_nothing_behind(kit, others):
    def fail(session):
        session.db.run("INSERT INTO fact (name, value) VALUES ('left', 'behind')")
        session.commit(
            kit.store.preparer.prepare(
                entries((Method.CREATE, {"resourceType": "Basic", "code": {"text": "x"}}, {}))
            )
        )
        raise Invalid("of no use")

    def written(session):
        return session.commit(
            kit.store.preparer.prepare(entries((Method.CREATE, {"resourceType": "Patient"}, {})))
        )

    told = []
    jobs = [_Job(1, work, told.append, writes=True) for work in [written] * others]
    jobs.insert(others // 2, _Job(1, fail, told.append, writes=True))

    kit.store.writer._write(jobs)

    assert [type(one) for one in told].count(Invalid) == 1
    assert kit.store.writer._db.one("SELECT count(*) FROM fact WHERE name='left'") == (0,)
    assert (len(kit.found("Basic", "")), len(kit.found("Patient", ""))) == (0, others)


def test_two_entries_with_one_wish_make_one_resource(kit):
    made = identified("twice")
    wish = {"criteria": "identifier=urn:s|twice"}
    observed = observation(subject={"reference": "urn:uuid:b"})

    outcomes = kit.store.commit(
        entries(
            (Method.CREATE, made, {**wish, "full_url": "urn:uuid:a"}),
            (Method.CREATE, made, {**wish, "full_url": "urn:uuid:b"}),
            (Method.CREATE, observed, {}),
        )
    )

    assert [outcome.result for outcome in outcomes[:2]] == [Result.CREATED, Result.UNCHANGED]
    assert outcomes[0].id == outcomes[1].id
    assert kit.found("Patient", "identifier=urn:s|twice") == [outcomes[0].id]
    assert kit.found("Observation", f"subject=Patient/{outcomes[0].id}") == [outcomes[2].id]
