"""Large pages: what is put into them, and that nothing of it changes."""

from __future__ import annotations

from pathlib import Path

from app.memory import _own, enlarge_pages

MAPS = """\
00400000-00c00000 r-xp 00000000 08:01 11 /usr/bin/python3.11
01000000-01800000 rw-p 00000000 00:00 0 [heap]
02000000-02001000 rw-p 00000000 00:00 0
03000000-03400000 rw-p 00000000 00:00 0
04000000-04400000 rw-s 00000000 00:00 0
05000000-05400000 rw-p 00000000 08:01 12 /var/lib/some file
06000000-06400000 ---p 00000000 00:00 0
7f000000-7f400000 rw-p 00000000 00:00 0 [stack]
"""


def test_only_large_parts_of_own_memory_are_put_into_large_pages():
    assert list(_own(MAPS)) == [(0x1000000, 0x1800000), (0x3000000, 0x3400000)]


def test_memory_is_the_same_afterwards():
    held = [bytes([n]) * (1 << 20) for n in range(16)]

    enlarge_pages()

    assert all(held[n] == bytes([n]) * (1 << 20) for n in range(16))


def test_a_system_that_does_not_say_where_memory_is_keeps_its_pages(tmp_path: Path):
    enlarge_pages(tmp_path / "maps")
