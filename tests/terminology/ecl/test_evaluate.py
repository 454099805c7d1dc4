"""ECL on the robot release, beside a reading of the same files that walks and compares."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import Unprocessable
from app.terminology import ecl
from app.terminology.ecl.evaluate import Evaluation
from app.terminology.load import rf2
from app.terminology.stored import loading
from app.terminology.stored.catalogue import Stored
from tests.terminology import robots
from tests.terminology.robots import above, below, codes, everything, groups, members, relations


def code(name):
    return codes()[name]


def selected(system, text):
    """Return what is selected; asking for each code alone gives the same."""
    found = set(ecl.expand(system, text))
    evaluation, node = Evaluation(system), ecl.parse(text)
    alone = {one for one in everything() if evaluation.has(node, one)}
    assert alone == found
    return found


def having(test):
    return {one for one in everything() if test(one)}


def _operators():
    part = code("Sensing part")
    down = below(part)
    return {
        f"{part}": {part},
        f"< {part}": down - {part},
        f"<< {part}": down,
        f"<! {part}": {one for one in everything() if part in robots.parents()[one]},
        f"<<! {part}": {one for one in everything() if part in robots.parents()[one]} | {part},
        f"> {code('Left camera')}": above(code("Left camera")) - {code("Left camera")},
        f">> {code('Left camera')}": above(code("Left camera")),
        f">! {code('Left camera')}": robots.parents()[code("Left camera")],
        f">>! {code('Left camera')}": robots.parents()[code("Left camera")] | {code("Left camera")},
        "*": everything(),
    }


@pytest.mark.parametrize("text", _operators())
def test_constraint_operators(robot_system, text):
    assert selected(robot_system, text) == _operators()[text]


def test_reference_sets(robot_system):
    stock, urgent = code("Spare parts in stock"), code("Urgent faults")

    assert selected(robot_system, f"^ {stock}") == members(stock)
    assert selected(robot_system, "^ *") == members(stock) | members(urgent)
    assert selected(robot_system, f"< ^ {stock}") == set().union(
        *(below(one) - {one} for one in members(stock))
    )
    assert selected(robot_system, f"^ (< {code('Model component')})") == (
        members(stock) | members(urgent)
    )


def test_compound_expressions(robot_system):
    left, drive, power = (below(code(f"{n} part")) for n in ("Left", "Drive", "Power"))
    a, b, c = (f"<< {code(f'{n} part')}" for n in ("Left", "Drive", "Power"))

    assert selected(robot_system, f"{a} AND {b}") == left & drive != set()
    assert selected(robot_system, f"{a} OR {b} OR {c}") == left | drive | power
    assert selected(robot_system, f"({b} AND {c}) MINUS {a}") == (drive & power) - left


def test_refinements_need_a_value_below(robot_system):
    place, animal = code("Place"), code("Animal")
    cause, immediate = code("Cause"), code("Immediate cause")
    robot = code("Robot fault")

    assert selected(robot_system, f"<< {robot}: {place} = << {code('Power part')}") == having(
        lambda one: any(
            a == place and v in below(code("Power part")) for _, a, v in relations()[one]
        )
    )
    assert selected(robot_system, f"<< {robot}: << {cause} = << {animal}") == having(
        lambda one: any(
            a in (cause, immediate) and v in below(animal) for _, a, v in relations()[one]
        )
    )
    assert selected(robot_system, f"<< {robot}: {cause} != << {animal}") == having(
        lambda one: any(a == cause and v not in below(animal) for _, a, v in relations()[one])
    )
    assert selected(robot_system, f"*: {code('Degree')} = *") == having(
        lambda one: any(a == code("Degree") for _, a, _ in relations()[one])
    )


def test_attributes_of_one_group_belong_together(robot_system):
    place, cause = code("Place"), code("Cause")
    wheel, dirt = code("Drive part"), code("Dirt")
    together = f"*: {{ {place} = << {wheel}, {cause} = << {dirt} }}"
    apart = f"*: {place} = << {wheel}, {cause} = << {dirt}"

    def in_one(group):
        return any(a == place and v in below(wheel) for a, v in group) and any(
            a == cause and v in below(dirt) for a, v in group
        )

    assert selected(robot_system, together) == having(lambda one: any(map(in_one, groups(one))))
    assert selected(robot_system, apart) > selected(robot_system, together)


@pytest.mark.parametrize(("low", "high"), [(2, 2), (0, 0), (0, 1), (1, 1), (2, None)])
def test_cardinality_counts_attributes_and_groups(robot_system, low, high):
    place, fault = code("Place"), code("Robot fault")
    count = f"[{low}..{'*' if high is None else high}]"
    most = high if high is not None else 99

    def attributes(one):
        return sum(a == place for _, a, _ in relations()[one])

    def of_groups(one):
        return sum(any(a == place for a, _ in group) for group in groups(one))

    assert selected(robot_system, f"<< {fault}: {count} {place} = *") == {
        one for one in below(fault) if low <= attributes(one) <= most
    }
    assert selected(robot_system, f"<< {fault}: {count} {{ {place} = * }}") == {
        one for one in below(fault) if low <= of_groups(one) <= most
    }


def test_no_such_attribute_within_a_group(robot_system):
    place, cause = code("Place"), code("Cause")

    assert selected(robot_system, f"*: {{ {place} = *, [0..0] {cause} = * }}") == having(
        lambda one: any(
            any(a == place for a, _ in group) and all(a != cause for a, _ in group)
            for group in groups(one)
        )
    )


def test_reversed_and_dotted_attributes_give_the_values(robot_system):
    place, jam = code("Place"), code("Jam")
    values = {v for one in below(jam) for _, a, v in relations()[one] if a == place}

    assert selected(robot_system, f"*: R {place} = << {jam}") == values
    assert selected(robot_system, f"<< {jam} . {place}") == values
    assert selected(robot_system, f"<< {code('Left part')}: R {place} = << {jam}") == (
        values & below(code("Left part"))
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Teeth = #4", ["Disc with 4 teeth"]),
        ("Teeth > #3", ["Disc with 4 teeth", "Disc with 6 teeth"]),
        ("Teeth <= #2", ["Disc with 2 teeth"]),
        ("Teeth != #3", ["Disc with 2 teeth", "Disc with 4 teeth", "Disc with 6 teeth"]),
        ("Litres >= #1.250", ["Tank of 1.25 L", "Tank of 2 L", "Tank of 10 L"]),
        ('Colour = "green"', ["Tank of 2 L"]),
    ],
)
def test_concrete_values_are_compared(robot_system, text, names):
    attribute, rest = text.split(" ", 1)

    assert selected(robot_system, f"*: {code(attribute)} {rest}") == set(map(code, names))


def test_what_does_not_exist_selects_nothing(robot_system):
    assert selected(robot_system, "<< 99999999999") == set()
    assert not ecl.contains(robot_system, "*", "99999999999")


@pytest.mark.parametrize("text", ["{0}: {{ {{ {1} = * }} }}", "{0}: {{ R {1} = * }}"])
def test_what_has_no_meaning_is_refused(robot_system, text):
    with pytest.raises(Unprocessable):
        list(ecl.expand(robot_system, text.format("*", code("Place"))))


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_one_code_and_all_codes_agree(robot_system, data):
    names = st.sampled_from(["Left part", "Drive part", "Wheel", "Jam", "Robot fault", "Animal"])
    attributes = st.sampled_from(["Place", "Cause", "Degree"])
    leaf = st.tuples(st.sampled_from(["", "<", "<<", "<!", ">", ">>", ">!"]), names).map(
        lambda t: f"{t[0]} {code(t[1])}"
    )
    inner = st.recursive(
        leaf,
        lambda e: st.one_of(
            st.tuples(e, st.sampled_from(["AND", "OR", "MINUS"]), e).map(
                lambda t: f"({t[0]} {t[1]} {t[2]})"
            ),
            st.tuples(e, attributes, e).map(lambda t: f"({t[0]}: {code(t[1])} = {t[2]})"),
            st.tuples(e, attributes, e).map(
                lambda t: f"(<< {code('Robot fault')}: [0..1] {{ {code(t[1])} != {t[2]} }})"
            ),
            st.tuples(e, attributes).map(lambda t: f"({t[0]} . {code(t[1])})"),
        ),
        max_leaves=4,
    )

    selected(robot_system, data.draw(inner))


def test_every_database_selects_the_same(robot_system, store):
    with rf2.release(robots.FOLDER) as files:
        loading.load(store, *rf2.draft_of(files), b"robots")
    (system,) = Stored(store).systems(rf2.SNOMED)
    place, jam, fault = code("Place"), code("Jam"), code("Robot fault")

    for text in (
        f"<< {code('Power part')} MINUS ^ {code('Spare parts in stock')}",
        f"<! {jam} OR > {code('Left camera')} OR ^ *",
        f"<< {fault}: [1..1] {{ {place} = << {code('Drive part')}, {code('Cause')} = * }}",
        f"<< {fault}: {place} != << {code('Drive part')}",
        f"(*: R {place} = << {jam}) OR (<< {jam} . {place})",
        f"*: {code('Litres')} > #1",
    ):
        assert set(ecl.expand(system, text)) == selected(robot_system, text) != set()
