"""Resources that are made where a formula asks for them, and references to those of rules."""

from __future__ import annotations

from typing import Any

from app.mapping.memory import NEW
from app.mapping.run import Entry, Run, add_missing, name_it
from app.mapping.source import Getter


def mentioner(
    name: str, type_: str, key: Getter, fill: Getter, display: Getter | None, when: Getter | None
) -> Getter:
    """Return what makes a mentioned resource, once for each message, and refers to it."""

    def mention(node: Any, run: Run) -> Any:
        if when is not None and not when(node, run):
            return None
        named = key(node, run)
        if named is None:
            shown = display(node, run) if display else None
            return {"display": shown} if shown else None
        entry = run.entry(type_, named, True)
        if entry.rule is None:
            _fill_mention(entry, node, run, fill)
        return entry.reference

    return mention


def packed(mention: Getter, name: str, memory: int, around: Getter | None) -> Getter:
    """Remember what a mention makes, with what it mentions in turn, by its text.

    Staff and places come again in every message; only their first appearance is computed.
    around: the text of fields elsewhere that count, too.
    """

    def unpacked(node: Any, run: Run) -> Any:
        text = node.raw if around is None else (node.raw, around(node, run))
        key = (name, text)
        memo = run.memo
        if key in memo:
            return memo[key]
        known = run.known[memory]
        found = known.get(text, NEW)
        if found is NEW:
            aside = run.fork()
            reference = mention(node, aside)
            found = reference, tuple(aside.entries.values()), tuple(aside.issues)
            run.memory.spend(known)
            known[text] = found
        reference, entries, issues = found
        for entry in entries:
            run.admit(entry)
        if issues:  # said again wherever it is asked: that may be remembered with them
            run.issues.extend(issues)
        else:
            memo[key] = reference
        return reference

    return unpacked


def _fill_mention(entry: Entry, node: Any, run: Run, fill: Getter) -> None:
    outer, run.here = run.here, entry
    if run.trace is not None:
        run.trace.enter(entry)
    body = fill(node, run)
    if body is None or "resourceType" not in body:
        body = {"resourceType": entry.type, **(body or {})}
    if entry.body is None:
        entry.body = body
    else:
        add_missing(entry.body, body)
    name_it(entry)
    run.here = outer
    if run.trace is not None:
        run.trace.leave()


def reference_up(names: tuple[str, ...]) -> Getter:
    """Return the reference to the nearest resource of the first rule that made one."""

    def nearest(node: Any, run: Run) -> Any:
        """The usual case, of one rule."""
        here = run.here
        while node is not None:
            made = node.made
            if made is not None and only in made:
                entry = made[only]
                if entry is not here:
                    return entry.reference
            node = node.up
        return None

    def reference(node: Any, run: Run) -> Any:
        known = run.made
        for name in names:
            if name not in known:
                continue
            place = node
            while place is not None:
                made = place.made
                if made is not None:
                    entry = made.get(name)
                    if entry is not None and entry is not run.here:
                        return entry.reference
                place = place.up
        return None

    only = names[0]
    return nearest if len(names) == 1 else reference


def references_down(names: tuple[str, ...]) -> Getter:
    """Return the references to all resources of rules in the same group; `*` are all there are."""

    def references(node: Any, run: Run) -> Any:
        if names == ("*",):
            here = run.here
            return [
                entry.reference
                for entry in run.entries.values()
                if entry is not here and entry.body is not None
            ]
        found: dict[str, Any] = {}
        group, here = node.group, run.here
        for name in names:
            for entry in run.made.get(name, ()):
                place = entry.node
                while place is not group and place is not None:
                    place = place.up
                if place is not None and entry is not here:
                    found[entry.id] = entry.reference
        return list(found.values())

    return references
