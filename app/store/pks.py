"""The numbers (`res.pk`) of resources that are referred to: a number is given once and stays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from app.errors import Conflict
from app.store.states import Target

_MOST = 200_000


class Pks:
    """Numbers that are in mind: `known`, some of them since the transaction under way began."""

    def __init__(
        self,
        find: Callable[[Target, bool], int | None],
        reserve: Callable[[Target], int],
        make_stubs: Callable[[Sequence[Target]], None] | None,
    ) -> None:
        """find: looks one up, for sure if its second argument says so. reserve: collects a row that
        only gives a number. make_stubs: writes such rows at once, where others write too."""
        self.known: dict[Target, int] = {}
        self._new: list[Target] = []
        self._find = find
        self._reserve = reserve
        self._make_stubs = make_stubs

    def add(self, target: Target, pk: int) -> None:
        """Note a number that the transaction under way has found or given."""
        self.known[target] = pk
        self._new.append(target)

    def add_all(self, pks: Mapping[Target, int]) -> None:
        """Do as `add` for many."""
        self.known.update(pks)
        self._new += pks

    def committed(self) -> None:
        if len(self.known) > _MOST:
            self.known.clear()
        self._new.clear()

    def rolled_back(self) -> None:
        self.back_to(0)

    def mark(self) -> int:
        """Return how many are new, for `back_to`."""
        return len(self._new)

    def back_to(self, mark: int) -> None:
        for target in self._new[mark:]:
            self.known.pop(target, None)
        del self._new[mark:]

    def of(self, wanted: Iterable[Target]) -> dict[Target, int]:
        """Return the pk of every target; one not seen yet gets a row that only reserves its pk."""
        found: dict[Target, int] = {}
        missing: list[Target] = []
        for target in wanted:
            pk = self.known.get(target)
            if pk is None:
                pk = self._find(target, False)
                if pk is None:
                    missing.append(target)
                    continue
                self.add(target, pk)
            found[target] = pk
        if missing and self._make_stubs is not None:
            self._make_stubs(missing)
            for target in missing:
                pk = self._find(target, True)
                if pk is None:
                    raise Conflict("a referenced resource could not be registered")
                found[target] = pk
                self.add(target, pk)
            return found
        for target in sorted(missing):
            found[target] = pk = self._reserve(target)
            self.add(target, pk)
        return found
