"""Sets of concepts as integers: bit n stands for concept n.

Python's integers do set algebra on 300,000 concepts in 2 us, count them in 10 us. In the database a
set lies in blocks of 65,536 concepts: the two-byte numbers of its members, or one bit each where
there are many.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence

BLOCK = 1 << 16
_BITMAP = BLOCK // 8
_MOST_LISTED = _BITMAP // 2 - 1  # so that the length of a block tells which of the two it is


def packed(members: Sequence[int]) -> bytes:
    """Return a block of the members' numbers within it, which are ascending."""
    if len(members) > _MOST_LISTED:
        return _bitmap(members)
    listed = array("H", members)
    if sys.byteorder == "big":
        listed.byteswap()
    return listed.tobytes()


def _bitmap(members: Iterable[int]) -> bytes:
    bitmap = bytearray(_BITMAP)
    for n in members:
        bitmap[n >> 3] |= 1 << (n & 7)
    return bytes(bitmap)


def unpacked(block: bytes) -> Sequence[int]:
    """Return the members' numbers within a block."""
    if len(block) == _BITMAP:
        return list(members(int.from_bytes(block, "little")))
    return _listed(block)


def _listed(block: bytes) -> Sequence[int]:
    listed = array("H", block)
    if sys.byteorder == "big":
        listed.byteswap()
    return listed


def holds(block: bytes, member: int) -> bool:
    """Whether a block has a member."""
    if len(block) == _BITMAP:
        return bool(block[member >> 3] >> (member & 7) & 1)
    return member in _listed(block)


def union(blocks: Iterable[tuple[int, bytes]]) -> int:
    """Return the set that (number of the block, block) pairs make together."""
    whole: dict[int, int] = {}
    listed: dict[int, bytearray] = {}
    for number, block in blocks:
        if len(block) == _BITMAP:
            whole[number] = whole.get(number, 0) | int.from_bytes(block, "little")
            continue
        bitmap = listed.get(number)
        if bitmap is None:
            bitmap = listed[number] = bytearray(_BITMAP)
        for n in _listed(block):
            bitmap[n >> 3] |= 1 << (n & 7)
    for number, bitmap in listed.items():
        whole[number] = whole.get(number, 0) | int.from_bytes(bitmap, "little")
    found = 0
    for number, part in whole.items():
        found |= part << number * BLOCK
    return found


def span(first: int, last: int) -> int:
    """Return the set of all numbers from `first` to `last`."""
    return ((1 << (last - first + 1)) - 1) << first if last >= first else 0


def spans(pairs: Sequence[int]) -> int:
    """Return the set of many spans: first and last number, pair after pair, ascending."""
    if not pairs:
        return 0
    found = bytearray((pairs[-1] >> 3) + 1)
    for index in range(0, len(pairs), 2):
        first, last = pairs[index], pairs[index + 1]
        low, high = first >> 3, last >> 3
        if low == high:
            found[low] |= ((1 << (last - first + 1)) - 1) << (first & 7)
            continue
        found[low] |= 0xFF << (first & 7) & 0xFF
        found[low + 1 : high] = b"\xff" * (high - low - 1)
        found[high] |= (2 << (last & 7)) - 1
    return int.from_bytes(found, "little")


def of(numbers: Iterable[int], size: int) -> int:
    """Return the set of some numbers below `size`."""
    found = bytearray((size >> 3) + 1)
    for n in numbers:
        found[n >> 3] |= 1 << (n & 7)
    return int.from_bytes(found, "little")


_IN_BYTE = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))


def members(bits: int) -> Iterator[int]:
    """Yield the members of a set, ascending."""
    octets = bits.to_bytes((bits.bit_length() + 7) >> 3, "little")
    position = 0
    while rest := octets[position : position + 512]:
        if any(rest):
            for index, octet in enumerate(rest, position):
                if octet:
                    for bit in _IN_BYTE[octet]:
                        yield index << 3 | bit
        position += 512


def after(bits: int, count: int) -> int:
    """Return the set without its `count` smallest members."""
    low, high = 0, bits.bit_length()
    while low < high:  # the smallest number below which there are `count` members
        middle = (low + high) >> 1
        if (bits & ((1 << middle) - 1)).bit_count() < count:
            low = middle + 1
        else:
            high = middle
    return bits >> low << low
