"""The numbers (`res.pk`) of resources that are referred to: a number is given once and stays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from app.errors import Conflict
from app.store.states import Target

_MOST = 200_000


class Pks:
    """Numbers that are in mind: `known` from transactions before, `new` from the one under way."""

    def __init__(
        self,
        find: Callable[[Target, bool], int | None],
        reserve: Callable[[Target], int],
        make_stubs: Callable[[Sequence[Target]], None] | None,
    ) -> None:
        """find: looks one up, for sure if its second argument says so. reserve: collects a row that
        only gives a number. make_stubs: writes such rows at once, where others write too."""
        self.known: dict[Target, int] = {}
        self.new: dict[Target, int] = {}
        self._find = find
        self._reserve = reserve
        self._make_stubs = make_stubs

    def committed(self) -> None:
        if len(self.known) > _MOST:
            self.known.clear()
        self.known.update(self.new)
        self.new.clear()

    def rolled_back(self) -> None:
        self.new.clear()

    def mark(self) -> int:
        """Return how many are new, for `back_to`."""
        return len(self.new)

    def back_to(self, mark: int) -> None:
        forget_last(self.new, mark)

    def of(self, wanted: Iterable[Target]) -> dict[Target, int]:
        """Return the pk of every target; one not seen yet gets a row that only reserves its pk."""
        found: dict[Target, int] = {}
        missing: list[Target] = []
        for target in wanted:
            pk = self.new.get(target) or self.known.get(target)
            if pk is None:
                pk = self._find(target, False)
                if pk is None:
                    missing.append(target)
                    continue
                self.new[target] = pk
            found[target] = pk
        if missing and self._make_stubs is not None:
            self._make_stubs(missing)
            for target in missing:
                pk = self._find(target, True)
                if pk is None:
                    raise Conflict("a referenced resource could not be registered")
                found[target] = self.new[target] = pk
            return found
        for target in sorted(missing):
            found[target] = self.new[target] = self._reserve(target)
        return found


def forget_last(learned: dict[Any, Any], size: int) -> None:
    """Forget what was learned last, all but the first `size`."""
    for key in list(learned)[size:]:
        del learned[key]
