"""Segments in their context: which segment speaks about which.

Real feeds order segments as they like, so groups come from context, not from the abstract message
structures (HL7 v2.5.1 chapter 2, section 2.5.3): PID opens a patient, ORC or OBR an order, IN1 an
insurance; NTE, PRT and ROL belong to the segment before them. No segment is dropped for its place.

Only the ids of the segments and their order decide. So the nodes that a message has let go of are
kept, linked as they are, for the next message with the same segments: it only puts its fields in.
"""

from __future__ import annotations

from typing import Any

import msgspec

from app.feeds.hl7v2.er7 import Message, Segment

ROOT = "MESSAGE"
ORDER = "ORDER"
NOWHERE = -1  # in place of a position among the segments: `Message.fields` has an empty list there


class Node(msgspec.Struct, eq=False):
    """A segment, or a group of segments (ORDER, and the message itself), among the others.

    at: its position among the segments. group: what counts as "beside": the order of an OBR, the
    patient of a PV1. near: id -> position of the nearest segment of that id (see `nearest`), if
    there is one.
    """

    id: str
    at: int
    nodes: _Nodes
    up: Node | None
    group: Node | None = None
    near: dict[str, int] = {}
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
        return self.id if self.at == NOWHERE else self.message.lines[self.at]

    @property
    def seg(self) -> Segment | None:
        return None if self.at == NOWHERE else self.message.segment(self.at)

    @property
    def place(self) -> str:
        seg = self.seg
        return ROOT if seg is None else seg.place

    def has(self, id_: str) -> bool:
        return self.kids is not None and id_ in self.kids


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
        joins_late = message.type.code == "OUL"
        self._free = free = _free[message.ids, joins_late]
        try:
            nodes = free.pop()
        except IndexError:
            nodes = _Nodes(message.ids, joins_late)
        nodes.message = message
        self._nodes: _Nodes | None = nodes
        self.root = nodes.root
        self.by_id = nodes.by_id
        fields = message.fields
        for node in nodes.segments:
            node.fields = fields[node.at]

    def all(self, id_: str) -> list[Node]:
        return self.by_id.get(id_, [])

    def fell(self) -> None:
        """Let go of all nodes: another message may take them."""
        nodes, self._nodes = self._nodes, None
        if nodes is None:
            return
        self.by_id = {}
        nodes.forget()
        if len(self._free) < _MOST_FREE and len(nodes.segments) <= _LONGEST:
            self._free.append(nodes)
        else:
            nodes.end()


_LONGEST = 300  # segments of a message whose nodes are kept
_MOST_FREE = 2  # of one sequence: threads seldom read messages that are alike at the same moment
_MOST_NODES = 40_000  # of all sequences: some 20 MB


class _Free(dict[tuple[tuple[str, ...], bool], list["_Nodes"]]):
    """Nodes that wait for a message, by its segment ids and whether an ORC may follow its OBR."""

    def __init__(self) -> None:
        super().__init__()
        self._room = _MOST_NODES

    def __missing__(self, key: tuple[tuple[str, ...], bool]) -> list[_Nodes]:
        count = len(key[0])
        none: list[_Nodes] = []
        if count <= _LONGEST:
            self._room -= _MOST_FREE * 2 * count  # an order of its own for each segment at most
            if self._room < 0:
                self._room = _MOST_NODES
                self.clear()
            self[key] = none
        return none


_free = _Free()


class _Nodes:
    """The nodes of one message at a time, placed by the ids of its segments in their order."""

    def __init__(self, ids: tuple[str, ...], joins_late: bool) -> None:
        self.message: Message | None = None
        self.root = Node(ROOT, NOWHERE, self, None)
        self.root.group = self.root
        self.by_id: dict[str, list[Node]] = {ROOT: [self.root]}
        self.segments: list[Node] = []
        self._patient: Node | None = None
        self._order: Node | None = None
        self._specimen: Node | None = None  # one that precedes its orders (OUL^R22)
        self._record: Node | None = None
        self._lead: Node = self.root
        self._open: dict[str, Node] = {}
        self._joins_late = joins_late
        before = ""
        for at, id_ in enumerate(ids):
            if id_ == before == "OBX" and self._order is not None:
                self._lead = self._open["OBX"] = self._new("OBX", at, self._order)
            else:
                self._place(id_, at)
                before = id_
        _see_near(self.root)

    def forget(self) -> None:
        """Let go of the message."""
        self.message = None
        none: list[str] = []
        for nodes in self.by_id.values():
            for node in nodes:
                node.fields = none
                node.made = None

    def end(self) -> None:
        """Let go of each other: what refers to itself would wait for the collector."""
        for nodes in self.by_id.values():
            for node in nodes:
                node.up = node.group = node.kids = None
                node.near = {}
        vars(self).clear()

    def _place(self, id_: str, at: int) -> None:
        if id_ in _FOLLOWERS:
            self._new(id_, at, self._lead)
            return
        if id_ == "PID":
            node = self._new(id_, at, self.root)
            if self._patient is None and self.root.kids is not None:
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

    def _parent(self, id_: str) -> Node:
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
        return self._patient or self.root

    def _order_for(self, id_: str) -> Node:
        order = self._order
        if (order is not None and not order.has(id_)) or (order is not None and id_ in _SEVERAL):
            if id_ != "ORC":
                return order
            if self._joins_late and not order.has("OBX"):
                return order
        parent = self._specimen or self._patient or self.root
        self._order = self._new(ORDER, NOWHERE, parent)
        return self._order

    def _for_specimen(self) -> Node:
        if self._order is not None and self._specimen is None:
            return self._order
        return self._patient or self.root

    def _new(self, id_: str, at: int, up: Node) -> Node:
        node = Node(id_, at, self, up, up)
        if id_ in _GROUPS:
            node.group = node
        kids = up.kids
        if kids is None:
            up.kids = {id_: [node]}
        elif id_ in kids:
            kids[id_].append(node)
        else:
            kids[id_] = [node]
        if at != NOWHERE:
            self.segments.append(node)
        same = self.by_id.get(id_)
        if same is None:
            self.by_id[id_] = [node]
        else:
            same.append(node)
        return node


def _see_near(root: Node) -> None:
    """Tell all nodes what is near them: themselves, what is inside, beside, further up."""
    todo = [root]
    while todo:
        node = todo.pop()
        near = {} if node.up is None else node.up.near.copy()
        for id_, kids in node.kids.items() if node.kids else ():
            near[id_] = kids[0].at
            todo += kids
        near[node.id] = node.at
        node.near = near


def _take_over(early: dict[str, list[Node]], patient: Node) -> None:
    """Give the first patient of a message what speaks of a patient and came before."""
    for id_ in _OF_FIRST_PATIENT & early.keys():
        for node in early.pop(id_):
            node.up = patient
            node.group = node if id_ in _GROUPS else patient
            if patient.kids is None:
                patient.kids = {}
            patient.kids.setdefault(id_, []).append(node)


_OF_PATIENT = frozenset(
    ("PD1", "NK1", "PV1", "PV2", "MRG", "AL1", "IAM", "IAR", "DG1", "DRG", "PR1", "GT1", "IN1",
     "ACC", "UB1", "UB2", "DB1", "ARV", "PDA", "TXA", "CON", "FT1", "PRB", "PTH", "GOL", "FAC",
     "PSH", "PDC", "PSL", "PSS", "PSG", "NSC", "NST", "ABS", "BLC", "RMI", "GP1", "PRD", "DON")
)  # fmt: skip

# REF and RRI name providers and authorizations before the patient; they are not the patient's.
_OF_FIRST_PATIENT = (_OF_PATIENT - {"PRD", "CON"}) | {ORDER, "OBX", "SPM"}


def may_hold(outer: str, inner: str) -> bool:
    """Say whether segments `inner` may stand inside segments or groups `outer`."""
    return (
        inner in _FOLLOWERS
        or outer in _GROUPS
        or outer == ROOT
        or outer in _PARENTS.get(inner, ())
        or (outer == "GOL" and inner == "OBX")
    )


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
