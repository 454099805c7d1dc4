"""What is remembered from message to message: codes, units and staff come again and again.

A result is remembered by the text that it was made of, for messages of the same *scope* (sender,
type, delimiters, character set ...: `Document.memo_scope`). Results are shared, so never changed:
whoever adds to one copies it first. Warnings are part of a result and are repeated with it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from app.mapping.source import Getter

_MOST_SCOPES = 64
_MOST_OF_ONE = 1024  # texts of one element; what varies more is not worth keeping
_LONGEST = 1000  # characters of the text of a result; longer ones (documents) do not come again
_MOST_OF_ALL = 30_000  # about 30 MB


# The memories of one scope, by their numbers: text -> what was made of it.
Known = defaultdict[int, dict[Any, Any]]


class Memory:
    """All memories of one mapping, never more than a bounded number of results."""

    def __init__(self) -> None:
        self._scopes: dict[object, Known] = {}
        self._room = _MOST_OF_ALL

    def of(self, scope: object) -> Known:
        """Return the memories of a scope."""
        found = self._scopes.get(scope)
        if found is None:
            if len(self._scopes) >= _MOST_SCOPES:
                self._forget()
            found = self._scopes[scope] = defaultdict(dict)
        return found

    def spend(self, known: dict[Any, Any]) -> None:
        """Make room for one more result in `known`."""
        if len(known) >= _MOST_OF_ONE:
            self._room += len(known)
            known.clear()
        self._room -= 1
        if self._room < 0:
            self._forget()

    def _forget(self) -> None:
        for known in list(self._scopes.values()):
            known.clear()
        self._scopes.clear()
        self._room = _MOST_OF_ALL


class Odd:
    """What stands in a memory in place of a plain result: nothing yet, or one with warnings."""

    __slots__ = ("issues", "value")

    def __init__(self, value: Any, issues: tuple[Any, ...]) -> None:
        self.value = value
        self.issues = issues


NEW = Odd(None, ())  # the answer of a memory that knows nothing


def warned(value: Any, issues: list[Any], before: int) -> Odd:
    """Return what a message remembers of a value that gave the warnings from `before` on.

    Those that tell their place would be wrong at the next one, where it has to be made anew.
    """
    told = tuple(issues[before:])
    for issue in told:
        if issue.at is not None:
            return NEW
    return Odd(value, told)


def repeated(odd: Odd, run: Any) -> Any:
    """Return the value that gave warnings before, and gives them again."""
    run.issues.extend(odd.issues)
    return odd.value


class Recalled:
    """Gives, for (key, node, run), what is odd in a memory: computes, or repeats warnings.

    function: the generated function that computes, if `get` is one.
    """

    __slots__ = ("_get", "_number", "function")

    def __init__(self, number: int, get: Getter, function: str = "") -> None:
        self._number = number
        self._get = get
        self.function = function

    def by(self, get: Getter) -> Recalled:
        """Return the same, computed by another function."""
        return Recalled(self._number, get, self.function)

    def __call__(self, key: Any, node: Any, run: Any) -> Any:
        known = run.known[self._number]
        found = known.get(key, NEW)
        if found is NEW:
            before = len(run.issues)
            value = self._get(node, run)
            issues = tuple(run.issues[before:])
            if _length(key) > _LONGEST:
                return value
            run.memory.spend(known)
            known[key] = Odd(value, issues) if issues else value
            return value
        if found.__class__ is not Odd:  # another thread was quicker
            return found
        run.issues.extend(found.issues)
        return found.value


class First:
    """Gives, for (key, node, run), what a message remembers by the key, when it is first asked for.

    What gave a warning is not remembered: the next place gets its own. function: as of `Recalled`.
    """

    __slots__ = ("_get", "function")

    def __init__(self, get: Getter, function: str) -> None:
        self._get = get
        self.function = function

    def by(self, get: Getter) -> First:
        """Return the same, computed by another function."""
        return First(get, self.function)

    def __call__(self, key: Any, node: Any, run: Any) -> Any:
        before = len(run.issues)
        value = self._get(node, run)
        if len(run.issues) == before:
            run.memo[key] = value
        return value


def _length(key: Any) -> int:
    """Return about the length of the texts in a key."""
    return len(key) if isinstance(key, str) else sum(map(_length, key or ()))
