"""Index entries to index rows: references become numbers, and the owner is found among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from app.fhir import definitions
from app.store import keys
from app.store.batch import Batch
from app.store.entries import SELF, Entries, local_reference, owner_params, pair_params
from app.store.pks import Pks

LinkRow = tuple[int, int, int, int, int, int, int]  # f, kind, t, lo, hi, src, s
_NO_OWNERS: Mapping[int, int] = {}


class Rows:
    """The index rows of one version, as sets of finished rows."""

    __slots__ = ("dts", "idents", "ix", "links", "named", "qtys", "s", "strs")

    def __init__(
        self,
        s: int,
        ix: set[tuple[int, int, int, int]] | None = None,
        strs: set[tuple[int, int, str, int]] | None = None,
        qtys: set[tuple[int, int, int, float, float, int]] | None = None,
        dts: set[tuple[int, int, int, int, int]] | None = None,
        idents: set[tuple[int, int, int]] | None = None,
        links: set[LinkRow] | None = None,
        named: set[tuple[int, str]] | None = None,
    ) -> None:
        self.s = s
        self.ix = ix or set()
        self.strs = strs or set()
        self.qtys = qtys or set()
        self.dts = dts or set()
        self.idents = idents or set()
        self.links = links or set()
        self.named = named or set()

    def add_to(self, batch: Batch) -> None:
        """Have them written."""
        if self.ix:
            _, *shared = next(iter(self.ix))
            batch.ix.append((*shared, *[row[0] for row in self.ix]))
        batch.strs.extend(self.strs)
        batch.qtys.extend(self.qtys)
        batch.dts.extend(self.dts)
        batch.idents.extend(self.idents)
        batch.links.extend(self.links)
        batch.named.extend(self.named)

    def replacing(self, old: Rows, batch: Batch) -> Rows:
        """Have the rows of `old` deleted that are none of these; return those that are new."""
        batch.ix_gone.extend((k, d, pk) for k, d, pk, _ in old.ix - self.ix)
        batch.strs_gone.extend((pk, p, v) for pk, p, v, _ in old.strs - self.strs)
        batch.qtys_gone.extend(row[:5] for row in old.qtys - self.qtys)
        batch.dts_gone.extend(row[:4] for row in old.dts - self.dts)
        batch.idents_gone.extend(row[:2] for row in old.idents - self.idents)
        batch.links_gone.extend(row[:6] for row in old.links - self.links)
        return Rows(
            self.s,
            self.ix - old.ix,
            self.strs - old.strs,
            self.qtys - old.qtys,
            self.dts - old.dts,
            self.idents - old.idents,
            self.links - old.links,
            self.named - old.named,
        )


class IndexRows:
    """Makes the rows of one tenant's resources."""

    def __init__(self, tenant: int, pks: Pks) -> None:
        self._tenant = tenant
        self._pks = pks

    def add_new(
        self,
        batch: Batch,
        type_name: str,
        pk: int,
        entries: Entries,
        targets: Mapping[str, str],
    ) -> int:
        """Collect the rows of a resource that has none yet; return its owner (`s`)."""
        found, s = self.keys_of(type_name, pk, entries, targets, None)
        if found:
            batch.ix.append((entries.d, pk, s, *found))
        if entries.strs:
            batch.strs += [(pk, p, v, s) for p, v in entries.strs]
        if entries.qtys:
            batch.qtys += [(pk, p, u, lo, hi, s) for p, u, lo, hi in entries.qtys]
        if entries.dts:
            batch.dts += [(pk, p, lo, hi, s) for p, lo, hi in entries.dts]
        if entries.idents:
            batch.idents += [(k, pk, s) for k in entries.idents]
        if entries.links:
            links, named = self.links_of(entries, targets, pk, s)
            batch.links += links
            batch.named += named
        return s

    def of(
        self,
        type_name: str,
        pk: int,
        entries: Entries,
        targets: Mapping[str, str],
        s: int | None = None,
    ) -> Rows:
        """Return the rows of `entries` with references resolved to pks.

        s: the resource's owner, if it is not to be found among these references.
        """
        found, s = self.keys_of(type_name, pk, entries, targets, s)
        d = entries.d
        return Rows(
            s,
            {(k, d, pk, s) for k in found},
            {(pk, p, v, s) for p, v in entries.strs},
            {(pk, p, u, lo, hi, s) for p, u, lo, hi in entries.qtys},
            {(pk, p, lo, hi, s) for p, lo, hi in entries.dts},
            {(k, pk, s) for k in entries.idents},
            *(self.links_of(entries, targets, pk, s) if entries.links else ()),
        )

    def keys_of(
        self,
        type_name: str,
        pk: int,
        entries: Entries,
        targets: Mapping[str, str],
        s: int | None,
    ) -> tuple[list[int], int]:
        """Return the keys in `ix`, some perhaps twice, and the owner; see `of`."""
        refs, urls = _moved(entries, targets) if targets else (entries.refs, entries.urls)
        try:
            found, owner = self._referring(type_name, refs, entries)
        except KeyError:
            self._pks.of({(target, id_) for _, target, id_ in refs})  # all that are missing at once
            found, owner = self._referring(type_name, refs, entries)
        for p, url in urls:
            found.append(keys.uri(self._tenant, p, url))
        if s is None:
            s = pk if owner is None else owner
        return found, s

    def _referring(
        self, type_name: str, refs: Sequence[tuple[int, str, str]], entries: Entries
    ) -> tuple[list[int], int | None]:
        """Return the keys of `entries` and of its references, and the owner among these.

        Raises KeyError when the number of one of them is not in mind.
        """
        pks = self._pks.known
        found = entries.keys.copy()
        owners, pair_p = _owning(type_name)
        owner: int | None = None
        first: int | None = None  # the place of the element that names the owner
        for p, target, id_ in refs:
            pk = pks[target, id_]
            found.append(p << keys.PK_BITS | pk)  # keys.reference
            if target == "Patient":
                if p in owners and (first is None or owners[p] < first):
                    owner, first = pk, owners[p]
                if p == pair_p and entries.pair:
                    found += [keys.pair(self._tenant, p, pk, k) for k in entries.pair]
        return found, owner

    def links_of(
        self, entries: Entries, targets: Mapping[str, str], pk: int, s: int
    ) -> tuple[set[LinkRow], set[tuple[int, str]]]:
        """Return the rows of the links, and the keys that stand at an end of one."""
        named = {end for link in entries.links for end in (link.source, link.target)}
        ends = {end: targets.get(end, end) for end in named}
        local = {
            end: at
            for end in ends.values()
            if (at := local_reference(end)) and definitions.is_resource_type(at[0])
        }
        pks = self._pks.of(local.values())
        tenant = self._tenant
        nodes = {end: pks[at] for end, at in local.items()} | {SELF: pk}
        keyed = {end: keys.canonical(tenant, end) for end in ends.values() if end not in nodes}
        nodes |= keyed
        rows = {
            (nodes[ends[f]], kind, nodes[ends[t]], lo, hi, pk, s)
            for kind, f, t, lo, hi in entries.links
        }
        return rows, {(k, end) for end, k in keyed.items()}


@lru_cache(maxsize=256)
def _owning(type_name: str) -> tuple[Mapping[int, int], int]:
    """Return `owner_params` of a type, and the reference parameter of its combined key."""
    owners = _NO_OWNERS if type_name == "Patient" else owner_params(type_name)
    return owners, pair_params(type_name)[0]


def _moved(
    entries: Entries, targets: Mapping[str, str]
) -> tuple[Sequence[tuple[int, str, str]], Sequence[tuple[int, str]]]:
    """Return the references with those of this change set replaced by what they became."""
    if not targets:
        return entries.refs, entries.urls
    refs: list[tuple[int, str, str]] = []
    urls: list[tuple[int, str]] = []
    for p, target, id_ in entries.refs:
        moved = targets.get(f"{target}/{id_}")
        refs.append((p, *moved.split("/", 1)) if moved else (p, target, id_))  # type: ignore[arg-type]
    for p, url in entries.urls:
        moved = targets.get(url)
        if moved:
            target, _, id_ = moved.partition("/")
            refs.append((p, target, id_))
        else:
            urls.append((p, url))
    return refs, urls
