"""Segments in their context: which segment speaks about which.

Real feeds order segments as they like, so groups come from context, not from the abstract message
structures (HL7 v2.5.1 chapter 2, section 2.5.3): PID opens a patient, ORC or OBR an order, IN1 an
insurance; NTE, PRT and ROL belong to the segment before them. No segment is dropped for its place.

Only the ids of the segments and their order decide. So a *shape* is found once for each sequence
of ids (`_Sketch`) and remembered, with nodes that a message has let go of: the next one of that
shape takes them over as they are linked, and only puts its fields in.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any

import msgspec

from app.feeds.hl7v2.er7 import Message, Segment

ROOT = "MESSAGE"
ORDER = "ORDER"
NOWHERE = -1  # in place of a position among the segments: `Message.fields` has an empty list there


class Node(msgspec.Struct, eq=False):
    """A segment, or a group of segments (ORDER, and the message itself), among the others.

    near: id -> where the nearest segment of that id stands (see `nearest`) in `Message.fields`.
    group: what counts as "beside": the order of an OBR, the patient of a PV1.
    """

    id: str
    near: Place
    nodes: _Nodes
    up: Node | None
    group: Node | None
    fields: list[str] = []
    kids: dict[str, list[Node]] | None = None
    made: dict[str, Any] | None = None

    @property
    def message(self) -> Message:
        message = self.nodes.message
        assert message is not None, "the message has let go of this node"
        return message

    @property
    def raw(self) -> str:
        at = self.near.at
        return self.id if at == NOWHERE else self.message.lines[at]

    @property
    def seg(self) -> Segment | None:
        at = self.near.at
        return None if at == NOWHERE else self.message.segment(at)

    @property
    def place(self) -> str:
        seg = self.seg
        return ROOT if seg is None else seg.place


class Place(dict[str, int]):
    """Where a node stands in a shape; as a dict: id -> the nearest segment of that id.

    at: its position among the segments. number: its turn among all that were placed.
    """

    __slots__ = ("at", "id", "kids", "number", "up")

    def __init__(self, id_: str, at: int, number: int) -> None:
        self.id = id_
        self.at = at
        self.number = number
        self.up: Place | None = None
        self.kids: dict[str, list[Place]] = {}

    def __missing__(self, id_: str) -> int:
        found = nearest(self, id_)
        at = self[id_] = NOWHERE if found is None else found.at
        return at

    def add(self, place: Place) -> None:
        place.up = self
        self.kids.setdefault(place.id, []).append(place)

    def has(self, id_: str) -> bool:
        return id_ in self.kids


_GROUPS = frozenset(("PID", ORDER, "SPM", "IN1", "FT1", "PRB", "MFE", "PRD", "DON"))
_FOLLOWERS = frozenset(("NTE", "PRT", "ROL", "CTD"))
_TOP = frozenset(
    ("MSH", "SFT", "UAC", "EVN", "MSA", "ERR", "QAK", "QPD", "QRD", "QRF", "MFI", "RF1", "SCH",
     "RGS", "AIS", "AIG", "AIL", "AIP", "DSC", "AUT", "RDF")
)  # fmt: skip
# Segments of an order that open one of their own when the open order has one already.
_ORDER_HEADS = frozenset(
    ("ORC", "OBR", "RXO", "RXE", "RXD", "RXG", "RXA", "ODS", "RQD", "BPO", "BPX")
)
_IN_ORDER = frozenset(
    ("TQ1", "TQ2", "OBX", "CTI", "BLG", "RXR", "RXC", "RXV", "SPM", "SAC", "IPC", "TCD", "SID",
     "RQ1", "BTX", "ODT")
)  # fmt: skip
_SEVERAL = frozenset(("RXA",))  # repeat inside one order
# Where the first of these that is open takes them.
_PARENTS: dict[str, tuple[str, ...]] = {
    "IN2": ("IN1",),
    "IN3": ("IN1",),
    "RXR": ("RXA", "RXD", "RXG", "RXE", "RXO"),
    "RXC": ("RXD", "RXG", "RXE", "RXO"),
    "SAC": ("SPM",),
}
_LEADERS = {"PD1": "PID", "PV2": "PV1"}
_RECORD = frozenset(
    (
        "STF",
        "PRA",
        "LOC",
        "LCH",
        "LRL",
        "LDP",
        "LCC",
        "OM1",
        "OM2",
        "OM3",
        "OM4",
        "OM5",
        "OM6",
        "OM7",
        "ORG",
        "EDU",
        "AFF",
        "LAN",
        "CER",
        "IIM",
        "ITM",
        "IVT",
        "CDM",
        "PRC",
        "PMT",
        "STZ",
        "VND",
        "PKG",
    )
)


class Tree:
    """The message as a tree of nodes; `all` finds every segment of an id."""

    def __init__(self, message: Message) -> None:
        shape = _shapes[message.ids, message.type.code == "OUL"]
        self._nodes: _Nodes | None = shape.nodes()
        self._nodes.message = message
        self.root = self._nodes.root
        self.by_id = self._nodes.by_id
        fields = message.fields
        for node, at in self._nodes.segments:
            node.fields = fields[at]

    def all(self, id_: str) -> list[Node]:
        return self.by_id.get(id_, [])

    def fell(self) -> None:
        """Let go of all nodes: another message may take them."""
        nodes, self._nodes = self._nodes, None
        if nodes is not None:
            self.by_id = {}
            nodes.forget()


class _Nodes:
    """The nodes of one message at a time, of one shape."""

    def __init__(self, shape: _Shape) -> None:
        self.message: Message | None = None
        self._shape = shape
        self.root = root = Node(ROOT, shape.root, self, None, None)
        root.group = root
        every = [root]
        self.by_id = {ROOT: [root]}
        for parent, id_, places in shape.families:
            up = every[parent]
            family = [Node(id_, place, self, up, up) for place in places]
            if id_ in _GROUPS:
                for node in family:
                    node.group = node
            if up.kids is None:
                up.kids = {}
            up.kids[id_] = family
            self.by_id[id_] = self.by_id.get(id_, []) + family
            every += family
        for id_ in shape.scattered:
            self.by_id[id_].sort(key=_turn)
        self.segments = [(node, node.near.at) for node in every if node.near.at != NOWHERE]
        self._every = every

    def forget(self) -> None:
        """Let go of the message; be free for another one, or end."""
        self.message = None
        none: list[str] = []
        for node in self._every:
            node.fields = none
            node.made = None
        if not self._shape.keep(self):
            for node in self._every:  # they refer to each other, and would wait for the collector
                node.up = node.group = node.kids = None
            self.segments, self._every = [], []


def _turn(node: Node) -> int:
    return node.near.number


class _Shape:
    """The tree of all messages with one sequence of segment ids.

    families: those of one id that stand side by side in one node: the number of that node, which
    comes earlier, their id, their places. scattered: ids that stand in more than one node.
    """

    __slots__ = ("_free", "families", "most_free", "root", "scattered")

    def __init__(self, root: Place, most_free: int) -> None:
        self.root = root
        self.most_free = most_free  # nodes of as many messages wait for others
        self._free: list[_Nodes] = []
        self.families: list[tuple[int, str, list[Place]]] = []
        self.scattered: set[str] = set()
        known: set[str] = set()
        places = [root]
        for number, place in enumerate(places):  # which grow meanwhile
            for id_, family in place.kids.items():
                self.families.append((number, id_, family))
                places += family
                if id_ in known:
                    self.scattered.add(id_)
                known.add(id_)

    def nodes(self) -> _Nodes:
        """Return nodes that no other message has."""
        try:
            return self._free.pop()
        except IndexError:
            return _Nodes(self)

    def keep(self, nodes: _Nodes) -> bool:
        """Take nodes back; False when there are enough already."""
        if len(self._free) >= self.most_free:
            return False
        self._free.append(nodes)
        return True


_LONGEST = 300  # segments of a message whose shape is remembered
_MOST_PLACES = 20_000  # of all shapes: some 20 MB
_MOST_FREE = 2  # threads seldom read messages of one shape at the same moment


class _Shapes(dict[tuple[tuple[str, ...], bool], _Shape]):
    """The shapes of messages by their segment ids, and whether an ORC may follow its OBR (OUL)."""

    def __init__(self) -> None:
        super().__init__()
        self._room = _MOST_PLACES

    def __missing__(self, key: tuple[tuple[str, ...], bool]) -> _Shape:
        short = len(key[0]) <= _LONGEST
        made = _Shape(_Sketch(*key).root, _MOST_FREE if short else 0)
        if short:
            self._room -= 2 * len(key[0])  # an order of its own for each segment at most
            if self._room < 0:
                self._room = _MOST_PLACES
                self.clear()
            self[key] = made
        return made


_shapes = _Shapes()


class _Sketch:
    """Finds the places of segments from their ids, in the order received."""

    def __init__(self, ids: Iterable[str], joins_late: bool) -> None:
        self.root = Place(ROOT, NOWHERE, 0)
        self._numbers = count(1)
        self._patient: Place | None = None
        self._order: Place | None = None
        self._specimen: Place | None = None  # one that precedes its orders (OUL^R22)
        self._record: Place | None = None
        self._lead: Place = self.root
        self._open: dict[str, Place] = {}
        self._joins_late = joins_late
        for at, id_ in enumerate(ids):
            self._place(id_, at)

    def _place(self, id_: str, at: int) -> None:
        if id_ in _FOLLOWERS:
            self._new(id_, at, self._lead)
            return
        if id_ == "PID":
            node = self._new(id_, at, self.root)
            if self._patient is None:
                _take_over(self.root.kids, node)
            self._patient, self._order, self._specimen = node, None, None
            self._open = {}
        elif id_ in _TOP:
            node = self._new(id_, at, self.root)
        elif id_ in _ORDER_HEADS:
            node = self._new(id_, at, self._order_for(id_))
            if id_ == "ORC":
                self._open = {}
        elif id_ == "SPM":
            node = self._new(id_, at, self._for_specimen())
            if node.up is not self._order:
                self._specimen, self._order = node, None
        elif id_ == "MFE":
            node = self._record = self._new(id_, at, self.root)
        elif id_ in _RECORD and self._record is not None:
            node = self._new(id_, at, self._record)
        else:
            node = self._new(id_, at, self._parent(id_))
        self._open[id_] = node
        leader = _LEADERS.get(id_)
        self._lead = self._open.get(leader, node) if leader else node

    def _parent(self, id_: str) -> Place:
        for name in _PARENTS.get(id_, ()):
            found = self._open.get(name)
            if found is not None:
                return found
        if self._order is not None and (id_ in _IN_ORDER or id_ not in _OF_PATIENT):
            return self._order
        if id_ == "OBX" and self._specimen is not None:
            return self._specimen
        if id_ == "OBX" and self._lead.id in ("PRB", "GOL"):
            return self._lead
        return self._subject

    @property
    def _subject(self) -> Place:
        return self.root if self._patient is None else self._patient

    def _order_for(self, id_: str) -> Place:
        order = self._order
        if (order is not None and not order.has(id_)) or (order is not None and id_ in _SEVERAL):
            if id_ != "ORC":
                return order
            if self._joins_late and not order.has("OBX"):
                return order
        parent = self._subject if self._specimen is None else self._specimen
        self._order = self._new(ORDER, NOWHERE, parent)
        return self._order

    def _for_specimen(self) -> Place:
        if self._order is not None and self._specimen is None:
            return self._order
        return self._subject

    def _new(self, id_: str, at: int, up: Place) -> Place:
        place = Place(id_, at, next(self._numbers))
        up.add(place)
        return place


def _take_over(early: dict[str, list[Place]], patient: Place) -> None:
    """Give the first patient of a message what speaks of a patient and came before."""
    for id_ in _OF_FIRST_PATIENT & early.keys():
        for place in early.pop(id_):
            patient.add(place)


_OF_PATIENT = frozenset(
    ("PD1", "NK1", "PV1", "PV2", "MRG", "AL1", "IAM", "IAR", "DG1", "DRG", "PR1", "GT1", "IN1",
     "ACC", "UB1", "UB2", "DB1", "ARV", "PDA", "TXA", "CON", "FT1", "PRB", "PTH", "GOL", "FAC",
     "PSH", "PDC", "PSL", "PSS", "PSG", "NSC", "NST", "ABS", "BLC", "RMI", "GP1", "PRD", "DON")
)  # fmt: skip

# REF and RRI name providers and authorizations before the patient; they are not the patient's.
_OF_FIRST_PATIENT = (_OF_PATIENT - {"PRD", "CON"}) | {ORDER, "OBX", "SPM"}


def nearest(node: Any, id_: str) -> Any:
    """Return the segment of that id that is nearest: itself, inside, beside, further up."""
    while node is not None:
        if node.id == id_:
            return node
        kids = node.kids
        if kids is not None:
            found = kids.get(id_)
            if found is not None:
                return found[0]
        node = node.up
    return None


def nearest_all(node: Any, id_: str) -> list[Node]:
    """Return all segments of that id that lie where the nearest one lies."""
    while node is not None:
        if node.id == id_:
            return [node]
        kids = node.kids
        if kids is not None and id_ in kids:
            return kids[id_]  # type: ignore[no-any-return]
        node = node.up
    return []
