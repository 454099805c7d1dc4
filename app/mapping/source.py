"""What a feed has to tell the mapping language: its paths, anchors and functions.

A *node* is a place in a message that paths start from: a segment, a repetition, a dataset, an item
of a JSON array. Every node has `up` (the node around it, or None), `group` (the node whose inside
counts as "beside it", itself if it is one), `made` (which rule made which entry there, or None) and
`raw` (its text: what results are remembered by).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

# (node, run) -> a value, a list of values, a node ...; None or [] when there is nothing.
Getter = Callable[[Any, Any], Any]


class Inline:
    """A getter that a generated function need not call: it writes itself.

    write: a form (writer.py) that gets the same as `get`.
    """

    __slots__ = ("get", "write")

    def __init__(self, get: Getter, write: Callable[[Any, str], str]) -> None:
        self.get = get
        self.write = write

    def __call__(self, node: Any, run: Any) -> Any:
        return self.get(node, run)


class Scope:
    """What results may depend on beside their text; the same object for the same things.

    names: what formulas may ask of the message as a whole that is the same in all of the scope.
    """

    __slots__ = ("names",)

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names


class Node(Protocol):
    """What the runner asks of a node."""

    up: Any
    made: dict[str, Any] | None

    @property
    def group(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Access:
    """A compiled path in its four forms.

    one, many: the value or values as text (or number, boolean).
    node, nodes: the places themselves, for data-type maps and `$each`.
    at: the anchor name that paths inside those places are asked at, if they are anchors.
    reads: the field this looks at ("OBX-5"), "" when it looks inside the place it is asked at;
        None when it is something else (a name of the message, whole segments).
    needs: the field without which there is nothing here, when that is not what it reads.
    whole: it is about the message as a whole, the same wherever it is asked.
    raw: the text from which `node` and `nodes` are made, so that results need not be made twice.
    around: all nodes of the anchor that have the same node around them get the same.
    cut: accesses of which this is the same make the same places of the same text; None: not known.
    text: `one` gives text or None.
    """

    one: Getter
    many: Getter
    node: Getter
    nodes: Getter
    at: str | None = None
    reads: str | None = None
    needs: str | None = None
    whole: bool = False
    raw: Getter | None = None
    around: bool = False
    cut: int | None = None
    text: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the language.

    call: gets what stands left of the bar, the run, then the arguments.
    takes: value, node, values or nodes; the plural forms see all repetitions at once; none: the
        function stands at the beginning of a formula and gets the node it is asked at.
    gives_list: it returns a list, whose items spread in an array.
    type: the FHIR type of what it returns, if that is certain.
    args: least and most number of arguments.
    of: the FHIR type that what stands left of the bar has to have, if any.
    kinds: what the arguments are, where that can be checked beforehand (`functions.unfit`).
    pure: the result depends on nothing but the arguments and `Document.memo_scope`.
    fails: the warning when it returns nothing for something (`value` functions): its stable code
        and a text safe to show.
    """

    call: Callable[..., Any]
    takes: str = "value"
    gives_list: bool = False
    type: str | None = None
    args: tuple[int, int] = (0, 0)
    of: str | None = None
    kinds: tuple[str, ...] = ()
    fails: tuple[str, str] | None = None
    pure: bool = True


class Source(Protocol):
    """One feed, as the language sees it."""

    name: str
    functions: Mapping[str, Function]

    def path(self, text: str, at: str | None, trace: bool) -> Access:
        """Compile a path asked at anchor `at` (None: inside a map or a `$each` of parts).

        trace: tell `run.trace.read(place)` of everything that is read.
        Raises Invalid when the feed has no such path.
        """
        ...

    def key_of(self, anchor: str, reads: tuple[str, ...]) -> Getter | None:
        """Return a function (node, run) -> hashable text of those fields of the anchor's node.

        None when the fields do not all lie in that node itself: results are not remembered then.
        """
        ...

    def may_hold(self, anchor: str, other: str) -> bool:
        """Say whether nodes of `other` may stand inside those of `anchor`."""
        ...

    def anchor(self, text: str) -> Callable[[Any], Iterable[Any]]:
        """Compile an anchor (`each:` of a rule): from the document to its nodes.

        Raises Invalid when the feed has no such anchor.
        """
        ...


class Document(Protocol):
    """One message as a source has split it."""

    root: Any

    @property
    def uri(self) -> str:
        """The message URI: meta.source (architecture, Shared conventions)."""
        ...

    def present(self, bits: Mapping[str, int]) -> int:
        """Return the bits of the fields that hold something in this message; -1: not known.

        What needs only fields that are empty everywhere is not even looked at.
        """
        ...

    @property
    def memo_scope(self) -> object:
        """What, beside its own text, the result of a data-type map may depend on; hashable.

        A `Scope` if functions may be made over for messages like this one.
        """
        ...

    @property
    def key_parts(self) -> tuple[str, ...]:
        """What names the message in record keys of last resort: sender and message id."""
        ...
