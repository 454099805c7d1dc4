"""Histories against a plain model of them: every selection, in pages of every size."""

from __future__ import annotations

import json
import random
from datetime import timedelta

import pytest

from app.store import history as histories

TYPES = ("Patient", "Basic", "Organization")


@pytest.fixture
def written(kit):
    """Versions as (type, id, vid, lu, gender), oldest first: changes, deletions, equal times."""
    rng = random.Random(4)  # noqa: S311 - repeatable, not secret
    versions, gone = [], set()
    for _ in range(60):
        type_name, id_ = rng.choice(TYPES), rng.choice("abc")
        if rng.random() < 0.2 and (type_name, id_) not in gone:
            outcome = kit.delete(type_name, id_)
            gone.add((type_name, id_))
        else:
            code = {"code": {"text": "x"}} if type_name == "Basic" else {}
            outcome = kit.update({"resourceType": type_name, "id": id_, **code})
            gone.discard((type_name, id_))
        if outcome.result.name != "ABSENT":
            versions.append((type_name, id_, outcome.version_id, outcome.last_updated_us))
        if rng.random() < 0.7:
            kit.clock.move(timedelta(milliseconds=rng.choice((1, 500))))
    return versions


def pages(kit, type_name, id_, count, **more):
    """Follow the links; return versions and the totals that were told."""
    found, totals, cursor = [], set(), None
    while True:
        page = kit.store.history(type_name, id_, count=count, cursor=cursor, **more)
        assert len(page.versions) <= count
        found += [(v.type, v.id, v.version_id, v.last_updated_us) for v in page.versions]
        totals.add(page.total)
        for version in page.versions:
            if version.deleted:
                assert version.body == b""
            else:
                assert json.loads(version.body)["meta"]["versionId"] == str(version.version_id)
        cursor = page.next
        if cursor is None:
            return found, totals


def wanted(written, type_name, id_, since_us=None, at=None):
    found = []
    for version in written:
        successors = [v[3] for v in written if v[:2] == version[:2] and v[2] == version[2] + 1]
        ends = successors[0] if successors else 1 << 62
        if (
            (type_name is None or version[0] == type_name)
            and (id_ is None or version[1] == id_)
            and (since_us is None or version[3] >= since_us)
            and (at is None or (version[3] < at[1] and ends > at[0]))
        ):
            found.append(version)
    return found[::-1]


def some(written):
    """Selections by time: none, at and around times of versions, before and after all."""
    times = [written[n][3] for n in (0, 10, 20, 45, -1)]
    yield {}
    for time in (*times, times[0] - 9, times[-1] + 9):
        yield {"since_us": time}
        yield {"at": (time, time + 1)}
        yield {"at": (time, times[-1])}


@pytest.mark.parametrize("where", [(None, None), ("Patient", None), ("Patient", "a")])
def test_pages_hold_what_was_asked_for_once_newest_first(kit, written, where):
    for number, selection in enumerate(some(written)):
        expected = wanted(written, *where, **selection)

        found, totals = pages(kit, *where, 1 + number % 7, **selection)

        assert sorted(found) == sorted(expected)
        assert [v[3] for v in found] == sorted((v[3] for v in expected), reverse=True)
        assert totals <= {len(expected), None if where[1] is None and "at" in selection else -1}


def test_the_history_of_an_empty_store_is_empty(kit):
    assert pages(kit, None, None, 5) == ([], {0})
    assert pages(kit, "Patient", None, 5) == ([], {0})


def test_a_link_goes_on_where_its_page_ended_whatever_came_since(kit):
    for _ in range(5):
        kit.update({"resourceType": "Patient", "id": "p"})
    first = kit.store.history("Patient", "p", count=2)

    kit.update({"resourceType": "Patient", "id": "p"})
    second = kit.store.history("Patient", "p", count=2, cursor=first.next)

    assert [v.version_id for v in (*first.versions, *second.versions)] == [5, 4, 3, 2]
    assert (first.total, second.total) == (5, 5)


def test_more_versions_than_are_counted_have_no_total(kit, written, monkeypatch):
    monkeypatch.setattr(histories, "TOTAL_MOST", 10)

    found, totals = pages(kit, None, None, 7)

    assert len(found) == len(written)
    assert totals == {None}
