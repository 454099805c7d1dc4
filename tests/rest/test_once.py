"""Work that is asked for by many threads at once is done by one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from app.rest.once import once


def test_many_threads_get_the_result_of_one():
    begun = Barrier(4, timeout=60)
    calls = []

    @once
    def work(number: int) -> int:
        calls.append(number)
        return number * 2

    def ask(_: int) -> int:
        begun.wait()
        return work(21)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(ask, range(4)))

    assert results == [42] * 4
    assert calls == [21]
