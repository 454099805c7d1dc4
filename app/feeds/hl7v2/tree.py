"""Segments in their context: which segment speaks about which.

Real feeds order segments as they like, so groups come from context, not from the abstract message
structures (HL7 v2.5.1 chapter 2, section 2.5.3): PID opens a patient, ORC or OBR an order, IN1 an
insurance; NTE, PRT and ROL belong to the segment before them. No segment is dropped for its place.
"""

from __future__ import annotations

from typing import Any

from app.feeds.hl7v2.er7 import Message, Segment

ROOT = "MESSAGE"
ORDER = "ORDER"


class Node:
    """A segment, or a group of segments (ORDER, and the message itself), among the others."""

    __slots__ = ("fields", "group", "id", "kids", "made", "seg", "up")

    def __init__(self, id_: str, seg: Segment | None, up: Node | None) -> None:
        self.id = id_
        self.seg = seg
        self.fields: list[str] = [] if seg is None else seg.fields
        self.up = up
        self.kids: dict[str, list[Node]] | None = None
        self.made: dict[str, Any] | None = None
        # What counts as "beside": the order of an OBR, the patient of a PV1.
        self.group: Node | None = self if up is None or id_ in _GROUPS else up

    @property
    def raw(self) -> str:
        return self.seg.raw if self.seg is not None else self.id

    @property
    def place(self) -> str:
        return self.seg.place if self.seg is not None else ROOT

    def add(self, node: Node) -> None:
        kids = self.kids
        if kids is None:
            self.kids = {node.id: [node]}
        else:
            same = kids.get(node.id)
            if same is None:
                kids[node.id] = [node]
            else:
                same.append(node)

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
        self.root = Node(ROOT, None, None)
        self.by_id: dict[str, list[Node]] = {ROOT: [self.root]}
        self._patient: Node | None = None
        self._order: Node | None = None
        self._specimen: Node | None = None  # one that precedes its orders (OUL^R22)
        self._record: Node | None = None
        self._lead: Node = self.root
        self._open: dict[str, Node] = {}
        self._joins_late = message.type.code == "OUL"
        before = ""
        for segment in message.segments:
            if segment.id == before == "OBX" and self._order is not None:
                self._lead = self._open["OBX"] = self._new("OBX", segment, self._order)
            else:
                self._place(segment)
                before = segment.id

    def all(self, id_: str) -> list[Node]:
        return self.by_id.get(id_, [])

    def fell(self) -> None:
        """Let go of all nodes: they refer to each other, and would wait for the collector."""
        for nodes in self.by_id.values():
            for node in nodes:
                node.up = node.group = node.kids = node.made = None

    def _place(self, segment: Segment) -> None:
        id_ = segment.id
        if id_ in _FOLLOWERS:
            self._new(id_, segment, self._lead)
            return
        if id_ == "PID":
            node = self._new(id_, segment, self.root)
            if self._patient is None and self.root.kids is not None:
                _take_over(self.root.kids, node)
            self._patient, self._order, self._specimen = node, None, None
            self._open = {}
        elif id_ in _TOP:
            node = self._new(id_, segment, self.root)
        elif id_ in _ORDER_HEADS:
            node = self._new(id_, segment, self._order_for(id_))
            if id_ == "ORC":
                self._open = {}
        elif id_ == "SPM":
            node = self._new(id_, segment, self._for_specimen())
            if node.up is not self._order:
                self._specimen, self._order = node, None
        elif id_ == "MFE":
            node = self._record = self._new(id_, segment, self.root)
        elif id_ in _RECORD and self._record is not None:
            node = self._new(id_, segment, self._record)
        else:
            node = self._new(id_, segment, self._parent(id_))
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
        order = Node(ORDER, None, parent)
        parent.add(order)
        self.by_id.setdefault(ORDER, []).append(order)
        self._order = order
        return order

    def _for_specimen(self) -> Node:
        if self._order is not None and self._specimen is None:
            return self._order
        return self._patient or self.root

    def _new(self, id_: str, segment: Segment, up: Node) -> Node:
        node = Node(id_, segment, up)
        kids = up.kids
        if kids is None:
            up.kids = {id_: [node]}
        elif id_ in kids:
            kids[id_].append(node)
        else:
            kids[id_] = [node]
        same = self.by_id.get(id_)
        if same is None:
            self.by_id[id_] = [node]
        else:
            same.append(node)
        return node


def _take_over(early: dict[str, list[Node]], patient: Node) -> None:
    """Give the first patient of a message what speaks of a patient and came before."""
    for id_ in _OF_FIRST_PATIENT & early.keys():
        for node in early.pop(id_):
            node.up = patient
            node.group = node if node.id in _GROUPS else patient
            patient.add(node)


_OF_PATIENT = frozenset(
    ("PD1", "NK1", "PV1", "PV2", "MRG", "AL1", "IAM", "IAR", "DG1", "DRG", "PR1", "GT1", "IN1",
     "ACC", "UB1", "UB2", "DB1", "ARV", "PDA", "TXA", "CON", "FT1", "PRB", "PTH", "GOL", "FAC",
     "PSH", "PDC", "PSL", "PSS", "PSG", "NSC", "NST", "ABS", "BLC", "RMI", "GP1", "PRD", "DON")
)  # fmt: skip

# REF and RRI name providers and authorizations before the patient; they are not the patient's.
_OF_FIRST_PATIENT = (_OF_PATIENT - {"PRD", "CON"}) | {ORDER, "OBX", "SPM"}


def nearest(node: Any, id_: str) -> Node | None:
    """Return the segment of that id that is nearest: itself, inside, beside, further up."""
    while node is not None:
        if node.id == id_:
            return node  # type: ignore[no-any-return]
        kids = node.kids
        if kids is not None:
            found = kids.get(id_)
            if found is not None:
                return found[0]  # type: ignore[no-any-return]
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
