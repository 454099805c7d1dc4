"""What is generated from a mapping, and what it remembers (writer.py, forms.py, memory.py)."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import msgspec
import pytest

from app.errors import Issue
from app.feeds.hl7v2 import convert as convert_module
from app.feeds.hl7v2 import er7
from app.feeds.hl7v2.convert import Options, convert
from app.feeds.hl7v2.paths import Field
from app.feeds.hl7v2.tree import Tree
from app.mapping import forms, library
from app.mapping.memory import NEW, Memory, Odd, Recalled
from app.mapping.writer import Program, form_of
from app.paths import shipped

EXAMPLES = [
    library.examples_text(example).encode()
    for example in library.merge("x", library.read_folder(shipped("mappings") / "hl7v2")).examples
]
encode = msgspec.json.Encoder(decimal_format="number").encode


def results(messages, options=None):
    return [encode([result.bundle for result in convert(raw, options)]) for raw in messages]


def test_what_was_remembered_of_other_messages_changes_nothing():
    first = results(EXAMPLES)
    results([*EXAMPLES[::-1], *EXAMPLES[::2], *EXAMPLES[1::2]])

    assert results(EXAMPLES) == first


def test_explaining_and_converting_agree_on_all_examples():
    """What explains remembers nothing and skips nothing: the order of elements may differ."""
    plain = [sorted_keys(raw) for raw in results(EXAMPLES)]

    assert [sorted_keys(raw) for raw in results(EXAMPLES, Options(explain=True))] == plain


def sorted_keys(raw):
    return msgspec.json.encode(msgspec.json.decode(raw), order="deterministic")


def test_a_bundle_may_be_kept_while_others_are_made_of_the_same_texts():
    bundles = [convert(raw)[0].bundle for raw in EXAMPLES]
    kept = copy.deepcopy(bundles)

    results(EXAMPLES)

    assert bundles == kept


def test_what_is_said_of_a_patient_again_is_not_remembered_again():
    """What only an event of another kind looks at (MSH-7) is no part of what it is known by."""
    raw = EXAMPLES[0].replace(b"ADT^A01", b"ADT^A08")
    options = Options(facility="again")
    sizes = []
    for second in range(10, 14):
        convert(raw.replace(b"|20240502091500|", b"|202405020915%d|" % second), options)
        memory = convert_module._engine((), (), False)._variant(()).memory
        sizes.append(sum(len(one) for known in memory._scopes.values() for one in known.values()))

    assert b"|20240502091500|" in raw
    assert len(set(sizes)) == 1


def test_two_installations_in_one_process_have_ids_of_their_own():
    ids = [results(EXAMPLES, Options(secret=secret * 32)) for secret in (b"a", b"b", b"a")]

    assert ids[0] == ids[2]
    assert all(one != other for one, other in zip(ids[0], ids[1], strict=True) if one != b"[null]")


def test_a_memory_is_bounded_in_scopes_texts_and_length():
    memory = Memory()
    made = []

    run = SimpleNamespace(issues=[], memory=memory, known=memory.of(0))
    look = Recalled(1, lambda node, run: made.append(node) or node)
    for number in range(3000):
        look(str(number), number, run)
    look("x" * 2000, "long", run)
    for scope in range(100):
        memory.of(scope)

    assert len(run.known[1]) <= 1024
    assert "x" * 2000 not in run.known[1]
    assert len(memory._scopes) <= 64


def test_a_remembered_result_comes_with_its_warnings_each_time():
    memory = Memory()

    run = SimpleNamespace(issues=[], memory=memory, known=memory.of(0))
    look = Recalled(1, lambda node, run: run.issues.append("w") or 7)
    assert look("a", None, run) == 7
    assert isinstance(run.known[1]["a"], Odd)
    assert look("a", None, run) == 7

    assert run.issues == ["w", "w"]
    assert run.known[1].get("b", NEW) is NEW


@pytest.mark.parametrize(("at", "times"), [(None, 1), ("PID-3", 2)])
def test_what_warned_is_made_again_in_a_message_only_if_its_warnings_tell_a_place(at, times):
    issue = Issue("warning", "value", "doubtful", at)
    made = []

    def doubtful(node, run):
        made.append(node)
        run.issues.append(issue)
        return 7

    form = forms.once(form_of(doubtful), forms.constant("text"), "None", None, marks={})
    get = Program().getter(form)
    run = SimpleNamespace(issues=[], memo={})

    assert [get("a", run), get("b", run)] == [7, 7]
    assert run.issues == [issue, issue]
    assert len(made) == times


def test_a_function_is_generated_at_its_first_call_and_what_is_deep_becomes_its_own():
    program = Program()
    form = forms.constant(7)
    for _ in range(200):
        form = forms.guarded(forms.valued(forms.constant(1)), forms.first_given([(form, 0)] * 2))

    get = program.getter(form)
    before = len(program.namespace)

    assert get(None, None) == 7
    assert len(program.namespace) > before


VALUES = [
    "A",
    "",
    '""',
    "A^B",
    "A&B^C",
    "^B",
    "&B",
    " A ",
    "A~B",
    "~B",
    r"A\T\B",
    "5.60",
    '""^B',
    "A^^C&D",
]


@pytest.mark.parametrize("part", [(0, 0), (1, 0), (2, 0), (1, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("anchor", ["OBX", None])
def test_a_path_gives_the_same_called_and_written(part, anchor):
    """Every form of a path, as a function and as it writes itself."""
    path = Field("OBX", 5, 0, part, component=bool(part[0]), at=anchor)
    access = path.access(trace=False)
    program = Program()
    written = {
        name: program.getter(getattr(access, name).write)
        for name in ("one", "many", "node", "nodes")
    }
    for value in VALUES:
        message = er7.read(
            f"MSH|^~\\&|A|B|||20240101||ORU^R01|1|P|2.5\rOBX|1|ST|c||{value}".encode()
        )

        run = SimpleNamespace(doc=SimpleNamespace(message=message), present=-1)
        node = Tree(message).all("OBX")[0]
        for name, get in written.items():
            called, inline = getattr(path, name)(node, run), get(node, run)
            assert shown(inline) == shown(called), (name, value)


def shown(found):
    if isinstance(found, list):
        return [shown(one) for one in found]
    return getattr(found, "raw", found)


def test_maps_of_the_same_text_are_asked_once_a_message_wherever_the_text_stands():
    calls = []

    def counted(node, run):
        calls.append(node)
        return {"value": node}

    marks = {}
    program = Program()
    forms_ = [
        forms.once(form_of(counted), forms.constant("text"), "None", same, marks=marks)
        for same in (("one", 0), ("one", 0), ("one", 1), None)
    ]
    run = SimpleNamespace(issues=[], memo={})

    found = [program.getter(form)("place", run) for form in forms_]

    assert len(calls) == 3
    assert found[0] is found[1]


def test_what_is_around_is_made_once_for_what_stands_beside_each_other():
    made = []

    def around(node, run):
        made.append(node.name)
        return

    getter = Program().getter(forms.around(form_of(around)))
    order, other = object(), object()
    nodes = [
        SimpleNamespace(name=name, up=up, group=up)
        for name, up in (("a", order), ("b", order), ("c", other))
    ]
    run = SimpleNamespace(memo={})

    assert [getter(node, run) for node in nodes] == [None] * 3
    assert made == ["a", "c"]
