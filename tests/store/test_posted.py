"""Posted SearchParameters: checked, numbered, indexed in the background, found exactly."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.errors import Invalid, PreconditionFailed, UnknownParameter
from app.fhir.definitions import type_number
from app.fhir.searchparams import FIRST_CUSTOM_NUMBER
from app.store.database import SQLITE, Address, connect
from app.store.posted import BUILDING, READY, Posted
from app.store.reindex import Walk
from app.store.store import Setting, open_store
from app.store.types import Change, Method, SearchRequest
from tests.store.conftest import ZONE
from tests.support import wait_for

EYE = "http://example.org/eye"


def parameter(code="eye", **more):
    return {
        "resourceType": "SearchParameter",
        "id": code,
        "url": f"http://example.org/SearchParameter/{code}",
        "name": code,
        "status": "active",
        "description": "x",
        "code": code,
        "base": ["Patient"],
        "type": "token",
        "expression": f"Patient.extension('{EYE}').value",
        **more,
    }


def patient(colour=None, **more):
    extension = [{"url": EYE, "valueCode": colour}] if colour else []
    return {"resourceType": "Patient", **({"extension": extension} if extension else {}), **more}


def change(type_name, resource):
    return Change(Method.UPDATE, type_name, resource["id"], json.dumps(resource).encode())


def postings(kit):
    """Return what the database knows of each posted parameter."""
    with contextlib.closing(connect(Address(kit.url))) as db:
        return list(Posted(0).all(db).values())


def ready(kit):
    """Wait until the posted parameter is ready as it was posted last, and this process knows it."""
    wait_for(lambda: [p.state for p in postings(kit)] == [READY])
    (posting,) = postings(kit)
    wait_for(lambda: (eye := _eye(kit)) and (eye.url, eye.number) == (posting.url, posting.first))


def _searchable(kit):
    return _eye(kit) is not None


def _eye(kit):
    return kit.store.search_parameters("Patient").get("eye")


def walk(kit, chunk=100):
    """Return the walk of the one posting there is, over a store without upkeep."""
    posted = kit.store._posted
    db = connect(Address(kit.url))
    kit.connections.append(db)
    posted.learn(db)
    ((id_, posting),) = posted.all(db).items()
    return Walk(
        id_,
        posting,
        posted=posted,
        preparer=kit.store._preparer,
        writer=kit.store.writer,
        db=db,
        chunk=chunk,
    )


@pytest.fixture
def still(kit):
    """The kit with nothing going on in the background."""
    kit.store._upkeep.close()
    kit.connections = []
    yield kit
    for db in kit.connections:
        db.close()


# --- posting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "at"),
    [
        ({"expression": "Patient.("}, "SearchParameter.expression"),
        ({"expression": "Patient.nothing"}, "SearchParameter.expression"),
        ({"expression": "Patient.birthDate"}, "SearchParameter.expression"),
        ({"base": ["Patiend"]}, "SearchParameter.base[0]"),
        ({"code": "gender"}, "SearchParameter.code"),
        ({"type": "composite"}, "SearchParameter.component"),
    ],
)
def test_a_parameter_that_cannot_work_is_refused(kit, more, at):
    with pytest.raises(Invalid) as caught:
        kit.create(parameter(**more))

    assert caught.value.at == at
    assert postings(kit) == []


@pytest.mark.parametrize(
    "more",
    [
        {"status": "draft", "expression": "("},
        {"expression": None},
        {"url": "http://hl7.org/fhir/SearchParameter/individual-gender", "code": "gender"},
    ],
)
def test_one_that_is_not_in_force_is_only_stored(kit, more):
    resource = {name: v for name, v in parameter(**more).items() if v is not None}

    assert kit.create(resource).version_id == 1
    assert postings(kit) == []


@pytest.mark.parametrize(
    ("more", "at"),
    [
        ({"code": "other", "url": parameter()["url"]}, "SearchParameter.url"),
        ({"url": "http://o"}, "SearchParameter.code"),
    ],
)
def test_two_parameters_do_not_share_a_url_or_a_name(kit, more, at):
    kit.update(parameter())

    with pytest.raises(Invalid) as caught:
        kit.update(parameter(**{**more, "id": "second"}))

    assert caught.value.at == at
    assert len(postings(kit)) == 1


def test_a_refusal_reaches_the_one_who_asked_for_it_and_nobody_else(still):
    if still.store._address.dialect != SQLITE:
        return  # no groups
    still.update(parameter())
    double = still.store._preparer.prepare(
        [change("SearchParameter", parameter("twin", url=parameter()["url"]))]
    )
    good = still.store._preparer.prepare([change("Patient", patient(id="p"))])
    writer, told = still.store.writer, {}
    holding, going = threading.Event(), threading.Event()
    writer.submit_work(lambda session: (holding.set(), going.wait(60)), lambda result: None)
    assert holding.wait(60)

    # All that waits meanwhile is one group.
    writer.submit(double, lambda result: told.__setitem__("double", result))
    writer.submit_work(
        lambda session: session.commit(good), lambda result: told.__setitem__("good", result)
    )
    going.set()
    wait_for(lambda: len(told) == 2)

    assert isinstance(told["double"], Invalid)
    assert told["good"][0].version_id == 1
    assert still.store.lookup("SearchParameter", "twin") is None


def test_a_transaction_that_fails_posts_nothing(kit):
    good = Change(Method.UPDATE, "SearchParameter", "eye", json.dumps(parameter()).encode())
    body = b'{"resourceType":"Patient","id":"p"}'
    bad = Change(Method.UPDATE, "Patient", "p", body, if_match=("9",))

    with pytest.raises(PreconditionFailed):
        kit.store.commit([good, bad])

    assert postings(kit) == []


# --- indexing ------------------------------------------------------------------------------------


def test_old_and_new_resources_are_found_once_it_is_ready(kit):
    kit.update(patient("brown", id="old"))
    kit.update(patient(id="none"))
    with pytest.raises(UnknownParameter):
        kit.found("Patient", "eye=brown")

    kit.update(parameter())
    kit.update(patient("brown", id="new"))
    ready(kit)

    assert sorted(kit.found("Patient", "eye=brown")) == ["new", "old"]
    assert sorted(kit.found("Patient", "eye:missing=true")) == ["none"]
    assert sorted(kit.found("Patient", "eye:missing=false")) == ["new", "old"]
    assert sorted(kit.found("Patient", "eye:not=brown")) == ["none"]
    kit.update(patient("blue", id="old"))
    assert kit.found("Patient", "eye=brown") == ["new"]
    kit.delete("Patient", "old")
    assert kit.found("Patient", "eye=blue") == []


VALUES = [
    ("string", "String", "Ähre", "mark=ahr"),
    ("uri", "Uri", "http://a/b", "mark:below=http://a"),
    ("number", "Decimal", 5.5, "mark=gt5"),
    ("date", "DateTime", "2024-03-01", "mark=2024-03"),
    ("quantity", "Quantity", {"value": 1, "system": "s", "code": "c"}, "mark=1|s|c"),
    ("reference", "Reference", {"reference": "Location/new"}, "mark=Location/new"),
    ("token", "Identifier", {"system": "s", "value": "v"}, "mark=s|v"),
]


@pytest.mark.parametrize(("kind", "datatype", "value", "query"), VALUES)
def test_every_search_type_is_indexed_over_old_resources(kit, kind, datatype, value, query):
    extension = [{"url": "http://m", f"value{datatype}": value}]
    subject = {"resourceType": "Encounter", "status": "planned", "class": {"code": "AMB"}}
    kit.update({**subject, "id": "with", "extension": extension})
    kit.update({**subject, "id": "without"})

    expression = "Encounter.extension('http://m').value"
    kit.update(parameter("mark", base=["Encounter"], type=kind, expression=expression))
    wait_for(lambda: "mark" in kit.store.search_parameters("Encounter"))

    assert kit.found("Encounter", query) == ["with"]
    assert kit.found("Encounter", "mark:missing=true") == ["without"]


def test_a_new_meaning_gets_new_numbers_and_is_indexed_anew(kit):
    kit.update({**patient("brown", id="p"), "gender": "male"})
    kit.update(parameter())
    ready(kit)

    kit.update(parameter(expression="Patient.gender"))
    ready(kit)

    assert _eye(kit).number > FIRST_CUSTOM_NUMBER
    assert kit.found("Patient", "eye=brown") == []
    assert kit.found("Patient", "eye=male") == ["p"]


def test_a_change_of_words_changes_nothing(kit):
    kit.update(parameter())
    ready(kit)
    generation = kit.store._posted.generation

    kit.update(parameter(description="in other words"))

    assert kit.store._posted.generation == generation
    assert _eye(kit).number == FIRST_CUSTOM_NUMBER


def test_a_parameter_may_get_another_url(kit):
    kit.update(patient("brown", id="p"))
    kit.update(parameter())
    ready(kit)

    kit.update(parameter(url="http://example.org/moved"))
    ready(kit)

    assert [p.done for p in postings(kit)] == [1]
    assert _eye(kit).url == "http://example.org/moved"
    assert _eye(kit).number > FIRST_CUSTOM_NUMBER
    assert kit.found("Patient", "eye=brown") == ["p"]


def test_a_walk_waits_for_who_may_not_know_the_parameter_yet(kit):
    if kit.store._address.dialect == SQLITE:
        return  # the one writer knows
    ignorant, db = (connect(Address(kit.url), write=True) for _ in range(2))
    ignorant.begin()
    ignorant.run(
        "INSERT INTO res (pk,tenant,s,type,id,method,vid,lu,d,have,body)"
        " VALUES (9,0,9,?,'late',0,1,0,0,0,?)",
        (type_number("Patient"), json.dumps(patient("brown", id="late")).encode()),
    )
    kit.update(parameter())
    waiting = "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a ON a.pid=l.pid"
    where = "l.locktype='advisory' AND a.query LIKE 'SELECT pg_snapshot_xmin%'"

    wait_for(lambda: db.one(f"{waiting} WHERE {where}"))
    assert [p.state for p in postings(kit)] == [BUILDING]
    ignorant.commit()
    ready(kit)

    assert kit.found("Patient", "eye=brown") == ["late"]
    ignorant.close()
    db.close()


@pytest.mark.parametrize("how", ["delete", "retire"])
def test_a_deleted_or_retired_parameter_is_unknown_again(kit, how):
    kit.update(parameter())
    ready(kit)

    if how == "delete":
        kit.delete("SearchParameter", "eye")
    else:
        kit.update(parameter(status="retired"))
    wait_for(lambda: not _searchable(kit))

    with pytest.raises(UnknownParameter):
        kit.found("Patient", "eye=brown")
    kit.update(parameter())
    ready(kit)
    assert _eye(kit).number > FIRST_CUSTOM_NUMBER


# --- the walk ------------------------------------------------------------------------------------


def test_a_walk_goes_on_where_it_was_interrupted(still):
    for n in range(7):
        still.update(patient("brown", id=f"p{n}"))
    still.update(parameter())
    first = walk(still, chunk=3)
    first.begin()

    assert first.step()
    (half,) = postings(still)
    assert (half.done, half.total, half.state) == (3, 7, BUILDING)
    second = walk(still, chunk=3)  # as a new process would
    while second.step():
        pass

    (done,) = postings(still)
    assert (done.done, done.total, done.state) == (7, 7, READY)
    wait_for(lambda: _searchable(still))
    assert len(still.found("Patient", "eye=brown")) == 7


def test_a_new_process_finishes_what_the_old_one_began(still):
    for n in range(5):
        still.update(patient("brown", id=f"p{n}"))
    still.update(parameter())
    walk(still, chunk=2).step()
    still.store.close()

    again = open_store(still.url, Setting(zone=ZONE), still.clock)
    try:
        wait_for(lambda: "eye" in again.search_parameters("Patient"))
        page = again.search(SearchRequest("Patient", [("eye", "brown")]))
        assert len(page.matches) == 5
    finally:
        again.close()


def test_what_changes_between_reading_and_writing_a_chunk_is_indexed_as_it_is(still):
    still.update(patient("brown", id="changed"))
    still.update(patient("brown", id="deleted"))
    still.update(patient("brown", id="same"))
    still.update(parameter())
    going = walk(still)
    read = going._read("Patient", "")

    still.update(patient("blue", id="changed"))
    still.update(patient("brown", id="kept", active=True))
    still.delete("Patient", "deleted")
    still.store.writer.run(lambda session: going._write(session, "Patient", read, None))
    wait_for(lambda: _searchable(still))

    assert sorted(still.found("Patient", "eye=brown")) == ["kept", "same"]
    assert still.found("Patient", "eye=blue") == ["changed"]
    assert still.found("Patient", "eye:missing=true") == []


def test_a_parameter_deleted_meanwhile_ends_its_walk(still):
    still.update(patient("brown", id="p"))
    still.update(parameter())
    going = walk(still)
    still.delete("SearchParameter", "eye")

    assert not going.step()
    assert postings(still) == []


def test_entries_prepared_before_the_parameter_was_known_lose_nothing(still):
    late = Change(Method.UPDATE, "Patient", "p", json.dumps(patient("brown", id="p")).encode())
    prepared = still.store._preparer.prepare([late])
    still.update(parameter())
    going = walk(still)
    while going.step():
        pass

    still.store.writer.commit(prepared)
    wait_for(lambda: _searchable(still))

    assert still.found("Patient", "eye=brown") == ["p"]


def test_writes_during_the_walk_leave_the_index_exact(kit):
    colours = ["brown", "blue", None]
    state = {}
    for n in range(120):
        state[f"p{n}"] = colours[n % 3]
        kit.update(patient(state[f"p{n}"], id=f"p{n}"))
    stop = threading.Event()

    def write(part):
        for turn in itertools.count():
            if stop.is_set():
                return
            for n in range(part, 120, 2):
                colour = colours[(n + turn) % 3]
                kit.update(patient(colour, id=f"p{n}"))
                state[f"p{n}"] = colour
            kit.update(patient("brown", id=f"new-{part}-{turn}"))
            state[f"new-{part}-{turn}"] = "brown"

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, part) for part in range(2)]
        kit.update(parameter())
        wait_for(lambda: [p.state for p in postings(kit)] == [READY])
        stop.set()
        for writer in writers:
            writer.result()
    wait_for(lambda: _searchable(kit))

    for colour in ("brown", "blue"):
        expected = {id_ for id_, value in state.items() if value == colour}
        assert set(kit.found("Patient", f"eye={colour}&_count=1000")) == expected
    missing = {id_ for id_, value in state.items() if value is None}
    assert set(kit.found("Patient", "eye:missing=true&_count=1000")) == missing


# --- other processes -----------------------------------------------------------------------------


def test_another_process_learns_of_a_parameter_by_its_generation(kit):
    other = Posted(0)
    db = connect(Address(kit.url))
    other.notice(db)
    assert other.generation == 0

    kit.update(parameter())
    ready(kit)

    wait_for(lambda: (other.notice(db), other.generation)[1] == 2)
    db.close()


def test_the_generation_of_one_database_is_not_that_of_the_next(tmp_path):
    """What is made of the parameters is kept by it: a statement of one would be another's."""
    seen = []
    for name in ("one", "other"):
        with contextlib.closing(
            open_store(f"sqlite:///{tmp_path / name}.db", Setting(zone=ZONE))
        ) as it:
            before = it.search_generation()
            it.commit([change("SearchParameter", parameter())])
            wait_for(lambda store=it: "eye" in store.search_parameters("Patient"))
            seen += [before, it.search_generation()]

    assert sorted(set(seen)) == seen
