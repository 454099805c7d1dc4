"""Paths into a payload: what `name.name`, `../name` and `name[*]` mean.

The grammar is in docs/devices.md; `source.py` says which names begin with `@`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from app.errors import Invalid
from app.mapping.source import Access, Getter


class Node:
    """A place in a payload."""

    __slots__ = ("children", "key", "made", "up", "value")

    def __init__(self, value: Any, up: Node | None, key: str | int | None = None) -> None:
        self.value = value
        self.up = up
        self.key = key
        self.made: dict[str, Any] | None = None
        self.children: dict[str | int, Node] | None = None

    @property
    def group(self) -> Node:
        return self

    @property
    def place(self) -> str:
        """Where this is in the payload: params[2].val"""
        if self.up is None:
            return "$"
        if isinstance(self.key, int):
            return f"{self.up.place}[{self.key}]"
        outer = self.up.place
        return f"{outer}.{self.key}" if outer != "$" else str(self.key)

    @property
    def raw(self) -> object:
        value = self.value
        return id(value) if isinstance(value, dict | list) else value

    def child(self, key: str | int, value: Any) -> Node:
        """Return the place below, the same one every time (rules meet at places)."""
        if self.children is None:
            self.children = {}
        found = self.children.get(key)
        if found is None:
            found = self.children[key] = Node(value, self, key)
        return found


_STEP = re.compile(r"([^.\[\]/]+)?((?:\[(?:\d+|\*)\])*)")
_INDEX = re.compile(r"\[(\d+|\*)\]")

_Steps = tuple[str | int, ...]


def parse(text: str) -> tuple[str, _Steps]:
    """Return where a path starts ("here", "root", or "up" followed by steps) and its steps."""
    ups = 0
    rest = text
    while rest.startswith("../") or rest == "..":
        ups += 1
        rest = rest[3:]
    steps: list[str | int] = [".."] * ups
    start = "up" if ups else "here"
    if rest == "$" or rest.startswith(("$.", "$[")):
        start, rest = "root", rest[1:].removeprefix(".")
    rest = rest.removeprefix(".") if rest != "." else ""
    for part in rest.split(".") if rest else ():
        match = _STEP.fullmatch(part)
        if match is None or not (match.group(1) or match.group(2)):
            raise Invalid(f"`{text}` is not a path")
        if match.group(1):
            steps.append(match.group(1))
        for index in _INDEX.findall(match.group(2)):
            steps.append("[*]" if index == "*" else int(index))
    return start, tuple(steps)


def places(text: str) -> Access:
    start, steps = parse(text)
    if start == "here" and len(steps) == 1 and isinstance(steps[0], str) and steps[0] not in _WILD:
        return _member(steps[0])

    def nodes(node: Any, run: Any) -> list[Node]:
        return walk(run.doc.root if start == "root" else node, steps)

    def node_(node: Any, run: Any) -> Node | None:
        found = nodes(node, run)
        return found[0] if found else None

    def many(node: Any, run: Any) -> list[Any]:
        places = _reach(run.doc.root if start == "root" else node, steps)
        if steps and steps[-1] == "[*]":  # a gap in a series is one of its values
            return [found.value for found in places]
        return [found.value for found in places if _filled(found.value) is not None]

    if "[*]" in steps or "*" in steps:

        def one(node: Any, run: Any) -> Any:
            found = nodes(node, run)
            return found[0].value if found else None

        return Access(one, many, node_, nodes)

    def value(node: Any, run: Any) -> Any:
        found = (run.doc.root if start == "root" else node).value
        if start == "up":
            place = node_(node, run)
            return None if place is None else place.value
        for step in steps:
            if isinstance(step, int):
                found = found[step] if isinstance(found, list) and step < len(found) else None
            else:
                found = found.get(step) if isinstance(found, dict) else None
            if found is None:
                return None
        return _filled(found)

    return Access(value, many, node_, nodes)


_WILD: Final = frozenset(("*", "[*]", ".."))


def _member(name: str) -> Access:
    """The most frequent path: one member of the object the formula is asked at."""

    def one(node: Any, run: Any) -> Any:
        value = node.value
        return _filled(value.get(name)) if isinstance(value, dict) else None

    def many(node: Any, run: Any) -> list[Any]:
        found = one(node, run)
        return [] if found is None else [found]

    def place(node: Any, run: Any) -> Node | None:
        found = one(node, run)
        return None if found is None else node.child(name, found)

    def places(node: Any, run: Any) -> list[Node]:
        found = place(node, run)
        return [] if found is None else [found]

    return Access(one, many, place, places)


def _filled(value: Any) -> Any:
    """Return the value, None for an empty text: devices send "" for nothing."""
    return None if value == "" else value


def walk(node: Node, steps: _Steps) -> list[Node]:
    """Return the places at the end of a path that hold something."""
    return [place for place in _reach(node, steps) if _filled(place.value) is not None]


def _reach(node: Node, steps: _Steps) -> list[Node]:
    found = [node]
    for step in steps:
        found = [below for place in found for below in _below(place, step)]
    return found


def _below(node: Node, step: str | int) -> Iterable[Node]:
    value = node.value
    if step == "..":
        around = node.up
        while around is not None and isinstance(around.value, list):
            around = around.up
        return () if around is None else (around,)
    if isinstance(value, list):
        if step == "[*]":
            return (node.child(index, item) for index, item in enumerate(value))
        if isinstance(step, int) and step < len(value):
            return (node.child(step, value[step]),)
        return ()
    if not isinstance(value, dict):
        return ()
    if step == "*":
        return (node.child(key, item) for key, item in value.items())
    return (node.child(step, value[step]),) if step in value else ()


def access(one: Getter, node: Getter | None = None) -> Access:
    def many(place: Any, run: Any) -> list[Any]:
        found = one(place, run)
        return [] if found is None else [found]

    def made(place: Any, run: Any) -> Node | None:
        found = one(place, run)
        return None if found is None else Node(found, run.doc.root)

    def nodes(place: Any, run: Any) -> list[Node]:
        found = made(place, run)
        return [] if found is None else [found]

    return Access(one, many, made, nodes)


def told(access: Access, text: str) -> Access:
    """Return the access that tells the trace which places it found."""

    def tell(getter: Getter) -> Getter:
        def telling(node: Any, run: Any) -> Any:
            for found in access.nodes(node, run):
                run.trace.read(text if text.startswith("@") else found.place)
            return getter(node, run)

        return telling

    return Access(tell(access.one), tell(access.many), tell(access.node), tell(access.nodes))


def present(payload: Any, path: str) -> bool:
    """Whether a payload has something at a path (as in `constants.match`)."""
    _, steps = parse(path)
    return bool(walk(Node(payload, None), steps))
