"""Rows of resources that have none yet: most changes are such ones, nearly all of a feed's.

Nothing is left to decide of them (`commit.py` has): here they are put together, many in a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from app.fhir import definitions
from app.fhir import json as fhir_json
from app.store.batch import Batch
from app.store.bodies import finished, last_updated
from app.store.dictionary import Dictionary
from app.store.prepare import Prepared, Preparer
from app.store.rows import IndexRows
from app.store.states import CREATED, digests
from app.store.types import Outcome, Result

# A change with its id, its number, and `res.told` of it.
Numbered = tuple[Prepared, str, int, int | None]

type_number = lru_cache(maxsize=256)(definitions.type_number)


class Creates:
    """Collects the rows of new resources of one tenant."""

    def __init__(
        self, preparer: Preparer, rows: IndexRows, dictionary: Dictionary, touched: set[int]
    ) -> None:
        """touched: gets the keys in `ix` that change."""
        self._preparer = preparer
        self._rows = rows
        self._dictionary = dictionary
        self._touched = touched

    def collect(
        self,
        batch: Batch,
        new: Iterable[Numbered],
        targets: Mapping[str, str],
        now: int,
        outcomes: list[Outcome],
    ) -> None:
        """Collect the rows, and add what became of each to `outcomes`.

        targets: what references are replaced by. Raises the error of the first that cannot be
        written.
        """
        preparer = self._preparer
        tenant, generation, effects = preparer.tenant, preparer.generation, preparer.effects
        updated = last_updated(now)
        first = fhir_json.Stamp(1, updated)
        sealed = digests(tenant, 1, CREATED, now)
        dictionary, touch, add_new = self._dictionary, self._touched.update, self._rows.add_new
        for change, id_, pk, told in new:
            type_name, entries = change.type, change.entries
            words, front = change.words, change.front
            if (
                front
                and change.generation == generation
                and change.entry is None
                and entries is not None
                and not targets
            ):
                if change.body_id == id_:
                    body = first.on(front, change.body)
                else:
                    body = fhir_json.splice_at(front, change.body, type_name, id_, 1, updated)
            else:
                body, entries, words = finished(preparer, change, id_, targets, 1, now, {})
            touch(entries.keys)
            s = add_new(batch, type_name, pk, entries, targets)
            number = type_number(type_name)
            batch.res.append(
                (pk, tenant, s, number, id_, CREATED, 1, now, entries.d, entries.have, body, told)
            )
            if words:
                dictionary.learn_words(batch, words)
            else:
                dictionary.learn(batch, entries)
            digest = sealed(type_name, id_, body)
            batch.log.append((tenant, s, number, pk, 1, CREATED, now, digest))
            if type_name in effects:
                batch.effects.append((effects[type_name], id_, body))
            outcomes.append(Outcome(Result.CREATED, type_name, id_, 1, now, body))
