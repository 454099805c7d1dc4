"""From "who is below whom" to numbers that answer it: a spanning tree and interval labels.

Concepts are numbered depth first along the first parent of each, so that those below one are an
interval n + 1 ... last. What is below it by further parents are more intervals, its spans, joined
where they touch; a tree has none. (Interval labels of a spanning tree with inherited intervals.)
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

Parents = Sequence[Sequence[int]]  # of each concept, by position in the order given


@dataclass(frozen=True, slots=True)
class Order:
    """positions: n -> position given; last: n -> last n below it; spans: n -> first, last, ..."""

    positions: array[int]
    last: array[int]
    spans: dict[int, array[int]]
    numbers: array[int]  # position given -> n


def cycle(parents: Parents) -> list[int]:
    """Return the positions of one cycle, empty when there is none."""
    state = bytearray(len(parents))  # 0 new, 1 on the way, 2 done
    for start in range(len(parents)):
        path = [start]
        while path:
            at = path[-1]
            if state[at] == 0:
                state[at] = 1
                for parent in parents[at]:
                    if state[parent] == 1:
                        around = path[path.index(parent) :]
                        return list(dict.fromkeys(p for p in around if state[p] == 1))
                    if state[parent] == 0:
                        path.append(parent)
            else:
                state[at] = 2
                path.pop()
    return []


def arrange(parents: Parents) -> Order:
    """Return the numbers; siblings keep the order given. There is no cycle in `parents`."""
    size = len(parents)
    below: list[list[int] | None] = [None] * size
    roots: list[int] = []
    for position, above in enumerate(parents):
        if not above:
            roots.append(position)
            continue
        known = below[above[0]]
        if known is None:
            below[above[0]] = [position]
        else:
            known.append(position)
    positions, numbers = array("I"), array("I", bytes(4 * size))
    stack = roots[::-1]
    while stack:
        position = stack.pop()
        numbers[position] = len(positions)
        positions.append(position)
        stack += reversed(below[position] or ())
    last = array("I", range(size))
    for n in range(size - 1, -1, -1):
        above = parents[positions[n]]
        if above:
            up = numbers[above[0]]
            last[up] = max(last[up], last[n])
    return Order(positions, last, _spans(parents, numbers, last), numbers)


def _spans(parents: Parents, numbers: array[int], last: array[int]) -> dict[int, array[int]]:
    """Return the intervals below concepts by further parents; concepts without any are absent."""
    gained: dict[int, list[tuple[int, int]]] = {}
    spans: dict[int, array[int]] = {}
    for position in _children_first(parents):
        n = numbers[position]
        own = spans[n] = _joined(gained.pop(n, ()), n, last[n])
        if not own:
            del spans[n]
        pairs = list(zip(own[::2], own[1::2], strict=True))
        for index, up in enumerate(parents[position]):
            handed = pairs if index == 0 else [(n, last[n]), *pairs]
            if handed:
                gained.setdefault(numbers[up], []).extend(handed)
    return spans


def _children_first(parents: Parents) -> array[int]:
    """Return the positions so that each comes after all that are below it."""
    waiting = array("I", bytes(4 * len(parents)))
    for above in parents:
        for up in above:
            waiting[up] += 1
    order = array("I", (position for position, count in enumerate(waiting) if not count))
    for position in order:  # it grows meanwhile
        for up in parents[position]:
            waiting[up] -= 1
            if not waiting[up]:
                order.append(up)
    return order


def _joined(intervals: Sequence[tuple[int, int]], n: int, last: int) -> array[int]:
    """Return intervals sorted and joined, without what lies in n ... last."""
    found = array("I")
    for low, high in sorted(intervals):
        if low >= n and high <= last:
            continue
        if found and low <= found[-1] + 1:
            found[-1] = max(found[-1], high)
        else:
            found.extend((low, high))
    return found
