"""Rows of the dictionaries (`code`, `txt`, `unit`) that were not written yet, as far as is known.

Codes, texts and units come again and again: each process remembers what it has written.
"""

from __future__ import annotations

from app.store.batch import Batch
from app.store.entries import Entries
from app.store.prepare import unpacked_words

_MOST = 200_000

# The hash of a piece of rows (`pack_words`), or of one row with its parameter's number.
_Seen = int | tuple[int, int]


class Dictionary:
    """What was written before, and what the transaction under way writes."""

    def __init__(self) -> None:
        self._known: set[_Seen] = set()
        self._new: dict[_Seen, None] = {}

    def committed(self) -> None:
        if len(self._known) > _MOST:
            self._known.clear()
        self._known.update(self._new)
        self._new.clear()

    def rolled_back(self) -> None:
        self._new.clear()

    def mark(self) -> int:
        """Return how much was learned in this transaction, for `back_to`."""
        return len(self._new)

    def back_to(self, mark: int) -> None:
        for key in list(self._new)[mark:]:
            del self._new[key]

    def learn(self, batch: Batch, entries: Entries) -> None:
        """Collect dictionary rows that were not written yet, as far as this process knows."""
        seen, new = self._known, self._new
        for row in entries.codes:
            key = (row[0], hash(row))
            if key not in seen and key not in new:
                new[key] = None
                batch.codes.append(row)
        for text in entries.texts:
            key = (text[0], hash(text))
            if key not in seen and key not in new:
                new[key] = None
                batch.texts.append(text)
        for unit in entries.units:
            key = (unit[0], hash(unit))
            if key not in seen and key not in new:
                new[key] = None
                batch.units.append(unit)

    def learn_words(self, batch: Batch, packed: bytes) -> None:
        """Do as `learn` for the packed rows of a resource: most are those of another one."""
        key = hash(packed)
        if key not in self._known and key not in self._new:
            self.learn(batch, unpacked_words(packed))
            self._new[key] = None
