"""What every part of a search needs to know."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Protocol

from app.fhir.searchparams import Param
from app.store import keys
from app.store.database import Connection
from app.store.search.systems import Systems

if TYPE_CHECKING:
    from app.store.search.conditions import Condition
    from app.store.search.sort import Key


FREQUENT = 500  # rows of a key from which on nobody counts them


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


class Inner(Protocol):
    """What reads the parameter at the end of a chain."""

    def __call__(
        self, context: Context, type_name: str, text: str, value: str, *, own: bool = False
    ) -> Condition: ...


class Learned:
    """What a process may keep of a database: it never becomes wrong, or only chooses a plan.

    pks: (type, id) -> pk of resources that were looked up: a number is given once and stays;
    frequent: keys of `ix` that had `FREQUENT` rows or more;
    sizes: how many rows met a demand when they were counted last, and until when that goes;
    conditions: what parameters as they are written ask for, where nothing but the text says it;
    sorts: the same for `_sort`.
    """

    __slots__ = ("conditions", "frequent", "pks", "sizes", "sorts")
    MOST = 50_000
    SIZE_S = 30.0  # rows come and go
    MOST_TEXTS = 5_000
    LONGEST = 1_000  # characters of a text that is kept: what clients send has no bound

    def __init__(self) -> None:
        self.pks: dict[tuple[str, str], int] = {}
        self.frequent: set[int] = set()
        self.sizes: dict[tuple[object, ...], tuple[int, float]] = {}
        self.conditions: dict[tuple[object, ...], Condition] = {}
        self.sorts: dict[tuple[object, ...], Sequence[Key]] = {}

    def keep_pk(self, target: tuple[str, str], pk: int) -> None:
        if len(self.pks) >= self.MOST:
            self.pks.clear()
        self.pks[target] = pk

    def keep_frequent(self, key: int) -> None:
        if len(self.frequent) >= self.MOST:
            self.frequent.clear()
        self.frequent.add(key)

    def size(self, demand: tuple[object, ...]) -> int | None:
        """Return how many rows met a demand a moment ago; None if nobody has counted them."""
        found = self.sizes.get(demand)
        return found[0] if found is not None and time.monotonic() < found[1] else None

    def keep_size(self, demand: tuple[object, ...], size: int) -> None:
        if _length(demand) > self.LONGEST:
            return
        if len(self.sizes) >= self.MOST_TEXTS:
            self.sizes.clear()
        self.sizes[demand] = size, time.monotonic() + self.SIZE_S

    def keep_condition(self, text: tuple[object, ...], condition: Condition) -> None:
        if _length(text) > self.LONGEST:
            return
        if len(self.conditions) >= self.MOST_TEXTS:
            self.conditions.clear()
        self.conditions[text] = condition

    def keep_sort(self, text: tuple[object, ...], keys: Sequence[Key]) -> None:
        if _length(text) > self.LONGEST:
            return
        if len(self.sorts) >= self.MOST_TEXTS:
            self.sorts.clear()
        self.sorts[text] = keys


def _length(text: tuple[object, ...]) -> int:
    return sum(len(part) for part in text if isinstance(part, str))


class Context:
    """One search's surroundings.

    bases: own base URLs with a trailing slash; inner: how a chain or `_has` has its own parameters
    read: (type, name, value) -> condition; learned: what searches before have found out, never what
    an open transaction has written; varies: something that may be otherwise next time was asked for
    since this was last set to False.
    """

    __slots__ = (
        "_codes",
        "_db",
        "_now_us",
        "_systems",
        "bases",
        "inner",
        "learned",
        "tenant",
        "varies",
        "zone",
    )

    def __init__(
        self,
        db: Connection,
        tenant: int,
        zone: tzinfo,
        now_us: int,
        bases: tuple[str, ...] = (),
        codes: Codes | None = None,
        inner: Inner | None = None,
        learned: Learned | None = None,
        systems: Systems | None = None,
    ) -> None:
        self._db = db
        self.tenant = tenant
        self.zone = zone
        self._now_us = now_us
        self.bases = bases
        self._codes = codes
        self.inner = inner
        self.learned = Learned() if learned is None else learned
        self._systems = systems
        self.varies = False

    @property
    def db(self) -> Connection:
        self.varies = True
        return self._db

    @property
    def now_us(self) -> int:
        self.varies = True
        return self._now_us

    @property
    def codes(self) -> Codes | None:
        """None until there is a terminology service."""
        self.varies = True
        return self._codes

    def same_systems(self, system: str) -> Sequence[str]:
        """Return the identifier systems that are the same as one, itself first."""
        return (system,) if self._systems is None else self._systems.same(self.db, system)

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
