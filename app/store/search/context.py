"""What every part of a search needs to know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import TYPE_CHECKING, Protocol

from app.fhir.searchparams import Param
from app.store import keys
from app.store.database import Connection
from app.store.search.systems import Systems

if TYPE_CHECKING:
    from app.store.search.conditions import Condition


class Codes(Protocol):
    """What search asks of terminology: the codes behind `:in`, `:not-in`, `:above`, `:below`."""

    def of_value_set(self, url: str) -> Sequence[tuple[str, str]]:
        """Return (system, code) of an expansion. Raises NotFound, TooCostly."""
        ...

    def related(self, system: str, code: str, *, above: bool) -> Sequence[str]:
        """Return the codes above or below one, itself included. Raises NotFound, TooCostly."""
        ...

    def in_value_set(self, url: str) -> Callable[[str, str], bool]:
        """Return what says whether (system, code) is in a value set; case is folded in code."""
        ...

    def is_related(self, system: str, code: str, *, above: bool) -> Callable[[str], bool]:
        """Return what says whether a code is above or below one; its case is folded."""
        ...


class Learned:
    """What a process may keep of a database: it never becomes wrong, or only chooses a plan.

    pks: (type, id) -> pk of resources that were looked up: a number is given once and stays;
    frequent: keys of `ix` that had too many rows to begin with.
    """

    __slots__ = ("frequent", "pks")
    MOST = 50_000

    def __init__(self) -> None:
        self.pks: dict[tuple[str, str], int] = {}
        self.frequent: set[int] = set()

    def keep_pk(self, target: tuple[str, str], pk: int) -> None:
        if len(self.pks) >= self.MOST:
            self.pks.clear()
        self.pks[target] = pk

    def keep_frequent(self, key: int) -> None:
        if len(self.frequent) >= self.MOST:
            self.frequent.clear()
        self.frequent.add(key)


@dataclass(frozen=True, slots=True)
class Context:
    """One search's surroundings.

    bases: own base URLs with a trailing slash; codes: None until there is a terminology service;
    inner: how a chain or `_has` has its own parameters read: (type, name, value) -> condition;
    learned: what searches before have found out, never what an open transaction has written;
    systems: which identifier systems are one, None if each stands for itself.
    """

    db: Connection
    tenant: int
    zone: tzinfo
    now_us: int
    bases: tuple[str, ...] = ()
    codes: Codes | None = None
    inner: Callable[[Context, str, str, str], Condition] | None = None
    learned: Learned = field(default_factory=Learned)
    systems: Systems | None = None

    def same_systems(self, system: str) -> Sequence[str]:
        """Return the identifier systems that are the same as one, itself first."""
        return (system,) if self.systems is None else self.systems.same(self.db, system)

    def scope(self, param: Param) -> int:
        """Return the parameter's number as the tables carry it."""
        return keys.scoped(self.tenant, param.number)


def plain(param: Param) -> Sequence[Param]:
    """Return the parameters whose index rows answer for `param`: itself, or those it is made of."""
    if param.union:
        return [row for part in param.union for row in plain(part)]
    if param.narrows is not None:
        return plain(param.narrows[0])
    return [param]
