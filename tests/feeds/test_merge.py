"""What a message says joined with what is known: nothing is erased, nothing older wins."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.feeds.hl7v2.lifecycle import Lifecycle
from app.feeds.merge import Said, Told, fresh, same, together

MR = {"coding": [{"code": "MR"}]}
SS = {"coding": [{"code": "SS"}]}


def said(at, removed=(), type_name="Patient", **body):
    return Said(type_name, {"resourceType": type_name, **body}, at, frozenset(removed))


def after(*statements, events=()):
    """Return the resource after statements in the order of their arrival."""
    known, told = None, None
    for number, one in enumerate(statements):
        event = events[number] if events else "A08"
        lifecycle = Lifecycle(event, f"2025-03-{one.at:02d}")
        known, told = together(known, told, one, lifecycle)
    return known


def test_what_a_message_leaves_out_stays():
    body = after(said(1, gender="female", birthDate="1980"), said(2, gender="male"))

    assert (body["gender"], body["birthDate"]) == ("male", "1980")


def test_an_older_message_overwrites_nothing_and_fills_what_nobody_told():
    body = after(
        said(5, gender="female", telecom=[{"value": "2"}]),
        said(3, gender="male", telecom=[{"value": "1"}], birthDate="1980"),
    )

    assert (body["gender"], body["telecom"]) == ("female", [{"value": "2"}])
    assert body["birthDate"] == "1980"


def test_what_was_removed_is_not_brought_back_by_an_older_message():
    body = after(said(5, ["telecom"], gender="female"), said(3, telecom=[{"value": "1"}]))

    assert "telecom" not in body


def test_removal_by_use_leaves_other_items():
    phones = [{"value": "1", "use": "home"}, {"value": "2", "use": "work"}]

    assert after(said(1, telecom=phones), said(2, ["telecom:home"]))["telecom"] == phones[1:]


HOME, WORK = {"value": "1", "use": "home"}, {"value": "2", "use": "work"}
RACE, FAITH = {"url": "race", "valueString": "x"}, {"url": "faith", "valueString": "y"}


def taking_part(kind, who):
    return {"individual": {"display": who}, "type": [{"coding": [{"code": kind}]}]}


@pytest.mark.parametrize("newer_first", [False, True])
@pytest.mark.parametrize(
    ("type_name", "first", "second", "expected"),
    [
        ("Patient", {"telecom": [HOME, WORK]}, {"telecom": [WORK]}, {"telecom": [WORK, HOME]}),
        (
            "Patient",
            {"telecom": [HOME]},
            {"telecom": [{"value": "3", "use": "mobile"}]},
            {"telecom": [{"value": "3", "use": "mobile"}]},
        ),
        (
            "Patient",
            {"extension": [RACE, FAITH]},
            {"extension": [RACE]},
            {"extension": [RACE, FAITH]},
        ),
        (
            "Encounter",
            {"participant": [taking_part("ATND", "A"), taking_part("REF", "B")]},
            {"participant": [taking_part("REF", "C")]},
            {"participant": [taking_part("REF", "C"), taking_part("ATND", "A")]},
        ),
        (
            "Encounter",
            {"hospitalization": {"admitSource": {"text": "a"}}},
            {"hospitalization": {"dischargeDisposition": {"text": "d"}}},
            {
                "hospitalization": {
                    "admitSource": {"text": "a"},
                    "dischargeDisposition": {"text": "d"},
                }
            },
        ),
    ],
    ids=["phones", "phones-of-one-field", "extensions", "participants", "hospitalization"],
)
def test_a_field_left_empty_erases_nothing_beside_one_that_was_told(
    type_name, first, second, expected, newer_first
):
    statements = [said(1, type_name=type_name, **first), said(2, type_name=type_name, **second)]

    body = after(*(reversed(statements) if newer_first else statements))

    (name,) = expected
    if isinstance(expected[name], list):
        assert sorted(body[name], key=str) == sorted(expected[name], key=str)
    else:
        assert body[name] == expected[name]


def test_the_same_items_told_again_stay_in_their_order():
    told = said(1, telecom=[WORK, HOME], extension=[FAITH, RACE])
    again = said(2, telecom=[WORK, HOME], extension=[FAITH, RACE])

    assert after(told, again) == after(told)


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        ("participant:ATND", ["REF"]),
        ("participant:CON", ["ATND", "REF"]),
    ],
)
def test_who_takes_part_is_removed_by_kind_and_not_brought_back(place, kept):
    people = [taking_part("ATND", "A"), taking_part("REF", "B")]
    told = said(1, type_name="Encounter", participant=people)
    nulled = said(2, [place], type_name="Encounter")

    for order in ((told, nulled), (nulled, told)):
        left = after(*order)["participant"]
        assert [one["type"][0]["coding"][0]["code"] for one in left] == kept


def test_an_extension_is_removed_by_url_though_another_is_told():
    both = said(1, extension=[RACE, FAITH])

    body = after(both, said(2, ["extension:faith"], extension=[RACE]))

    assert body["extension"] == [RACE]


def test_numbers_at_home_are_removed_though_those_at_work_are_told():
    body = after(said(1, telecom=[HOME, WORK]), said(2, ["telecom:home"], telecom=[WORK]))

    assert body["telecom"] == [WORK]


def test_identifiers_are_a_set_per_system_and_type():
    body = after(
        said(
            1, identifier=[{"system": "a", "value": "1", "type": MR}, {"system": "b", "value": "2"}]
        ),
        said(
            2,
            identifier=[
                {"system": "a", "value": "3", "type": MR},
                {"system": "a", "value": "4", "type": SS},
            ],
        ),
    )

    assert [one["value"] for one in body["identifier"]] == ["3", "4", "2"]


def test_numbers_of_merged_records_stay():
    old = {"system": "a", "value": "9", "use": "old"}
    known = {"resourceType": "Patient", "identifier": [{"system": "a", "value": "1"}, old]}

    body, _ = together(
        known, Told(1), said(2, identifier=[{"system": "a", "value": "1"}]), Lifecycle("A08", None)
    )

    assert body["identifier"] == [{"system": "a", "value": "1"}, old]


def test_a_choice_element_of_another_type_replaces_the_first():
    body = after(said(1, deceasedBoolean=True), said(2, deceasedDateTime="2025-03-01"))

    assert body == {"resourceType": "Patient", "deceasedDateTime": "2025-03-01"}


def test_a_result_is_replaced_as_a_whole_and_only_by_a_newer_one():
    final = said(2, type_name="Observation", status="final", valueString="x", note=[{"text": "n"}])
    corrected = said(3, type_name="Observation", status="corrected", valueString="y")

    assert after(final, corrected) == after(corrected, final)
    assert after(final, corrected) == {
        "resourceType": "Observation", "status": "corrected", "valueString": "y"
    }  # fmt: skip


def test_the_source_is_that_of_the_newest_message_and_tags_add_up():
    body = after(
        said(2, gender="male", meta={"source": "b", "tag": [{"code": "x"}]}),
        said(1, gender="female", meta={"source": "a", "tag": [{"code": "y"}]}),
    )

    assert body["meta"] == {"source": "b", "tag": [{"code": "x"}, {"code": "y"}]}


def visit(at, **body):
    return said(at, type_name="Encounter", **body)


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ([("A05", "planned"), ("A01", "in-progress"), ("A03", "finished")], "finished"),
        ([("A01", "in-progress"), ("A03", "finished"), ("A08", "in-progress")], "finished"),
        ([("A01", "in-progress"), ("A03", "finished"), ("A13", "in-progress")], "in-progress"),
        ([("A01", "in-progress"), ("A11", "cancelled"), ("A08", "in-progress")], "cancelled"),
        ([("A01", "in-progress"), ("A11", "cancelled"), ("A01", "in-progress")], "in-progress"),
        ([("A05", "planned"), ("A08", "in-progress")], "in-progress"),
        ([("A05", "planned"), ("A38", "cancelled")], "cancelled"),
    ],
)
def test_a_visit_moves_forward_and_only_its_events_take_a_step_back(steps, status):
    statements = [visit(at, status=one) for at, (_, one) in enumerate(steps, 1)]

    assert after(*statements, events=[event for event, _ in steps])["status"] == status


def test_the_end_of_a_visit_taken_back_is_not_brought_back_by_the_discharge():
    admit = (visit(1, status="in-progress", period={"start": "1"}), "A01")
    discharge = (visit(2, status="finished", period={"start": "1", "end": "2"}), "A03")
    undo = (
        Said(
            "Encounter",
            {"status": "in-progress", "period": {"start": "1"}},
            3,
            frozenset(("period.end",)),
        ),
        "A13",
    )

    for order in permutations((admit, discharge, undo)):
        body = after(*(one for one, _ in order), events=[event for _, event in order])
        assert (body["status"], body["period"]) == ("in-progress", {"start": "1"})


def place(name, status="active", **more):
    return {"location": {"display": name}, "status": status, **more}


def test_a_transfer_ends_the_bed_before_and_its_cancel_forgets_the_bed_after():
    moved = after(
        visit(1, location=[place("A")]), visit(2, location=[place("B")]), events=["A01", "A02"]
    )
    back = after(
        visit(1, location=[place("A")]),
        visit(2, location=[place("B"), place("A", "completed")]),
        visit(3, location=[place("A")]),
        events=["A01", "A02", "A12"],
    )

    assert moved["location"] == [
        place("B"), place("A", "completed", period={"end": "2025-03-02"})
    ]  # fmt: skip
    assert back["location"] == [place("A")]


def test_a_change_of_class_keeps_the_former_one():
    body = after(
        visit(1, **{"class": {"code": "AMB"}}, period={"start": "2025-03-01"}),
        visit(2, **{"class": {"code": "IMP"}}),
        events=["A04", "A06"],
    )

    assert body["class"] == {"code": "IMP"}
    assert body["classHistory"] == [
        {"class": {"code": "AMB"}, "period": {"start": "2025-03-01", "end": "2025-03-02"}}
    ]


def test_a_class_begins_where_the_one_before_ended():
    changes = [visit(at, **{"class": {"code": code}}) for at, code in ((2, "IMP"), (3, "AMB"))]
    since = {"period": {"start": "2025-03-01"}}

    known = after(
        visit(1, **{"class": {"code": "AMB"}}, **since), *changes, events=["A04", "A06", "A07"]
    )
    told = {"class": {"code": "IMP"}, "period": {"start": "2025-03-01T09"}}
    unknown = after(
        visit(1, **{"class": {"code": "IMP"}, "classHistory": [told]}, **since),
        changes[1],
        events=["A06", "A07"],
    )

    assert [(one["class"]["code"], one["period"]) for one in known["classHistory"]] == [
        ("AMB", {"start": "2025-03-01", "end": "2025-03-02"}),
        ("IMP", {"start": "2025-03-02", "end": "2025-03-03"}),
    ]
    assert [(one["class"]["code"], one["period"]) for one in unknown["classHistory"]] == [
        ("IMP", {"start": "2025-03-01T09", "end": "2025-03-03"}),
    ]


def test_a_leave_is_a_state_that_ends_by_its_own_events():
    leave, again = visit(2, status="onleave"), visit(3, status="in-progress")
    begun = visit(1, status="in-progress")

    assert after(begun, leave, events=["A01", "A21"])["status"] == "onleave"
    assert after(begun, leave, again, events=["A01", "A21", "A08"])["status"] == "onleave"
    for event in ("A22", "A52"):
        assert after(begun, leave, again, events=["A01", "A21", event])["status"] == "in-progress"


def test_versions_that_differ_in_source_only_are_the_same():
    assert same({"gender": "male", "meta": {"source": "a"}}, {"gender": "male", "id": "1"})
    assert not same({"gender": "male"}, {"gender": "female"})


def test_a_new_resource_is_told_as_if_joined_with_nothing():
    for one in (said(3, ["telecom"], gender="male"), visit(3, status="in-progress")):
        lifecycle = Lifecycle("A08", None)

        assert fresh(one, lifecycle) == together(None, None, one, lifecycle)[1]


ELEMENTS = {
    "gender": st.sampled_from(["male", "female"]),
    "birthDate": st.sampled_from(["1980", "1981-02"]),
    "telecom": st.lists(st.builds(dict, value=st.sampled_from("123")), min_size=1, max_size=2),
    "name": st.lists(st.builds(dict, family=st.sampled_from("ABC")), min_size=1, max_size=2),
}


@given(
    st.lists(
        st.tuples(
            st.fixed_dictionaries({}, optional=ELEMENTS), st.sets(st.sampled_from([*ELEMENTS]))
        ),
        min_size=2,
        max_size=4,
    ),
    st.randoms(),
)
def test_any_order_of_the_same_messages_ends_the_same(messages, random):
    statements = [
        said(at, removed - body.keys(), **body) for at, (body, removed) in enumerate(messages, 1)
    ]
    shuffled = list(statements)
    random.shuffle(shuffled)

    assert after(*shuffled) == after(*statements)
