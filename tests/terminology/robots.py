"""The robot release (fixtures/terminology/rf2) read in the plainest way, to compare with."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path

from tests.support import ROOT

FOLDER = ROOT / "fixtures" / "terminology" / "rf2"
IS_A = "116680003"


def rows(name: str) -> list[list[str]]:
    """Return the cells of the active rows of a file."""
    (path,) = FOLDER.rglob(f"*_{name}*Snapshot_*.txt")
    lines = Path(path).read_text("utf-8").splitlines()[1:]
    return [cells for cells in (line.split("\t") for line in lines) if cells[2] == "1"]


@cache
def codes() -> dict[str, str]:
    """Return English name -> code, of the active concepts."""
    active = {row[0] for row in rows("Concept_")}
    return {
        row[7]: row[4]
        for row in rows("Description")
        if row[5] == "en" and row[6] == "900000000000013009" and row[4] in active
    }


@cache
def parents() -> dict[str, set[str]]:
    """Return concept -> its parents."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows("Relationship_"):
        if row[7] == IS_A:
            found[row[4]].add(row[5])
    return found


@cache
def above(code: str) -> frozenset[str]:
    """Return the concept and all above it."""
    return frozenset({code}.union(*(above(parent) for parent in parents()[code])))


@cache
def everything() -> frozenset[str]:
    """Return all concepts, retired ones too."""
    (path,) = FOLDER.rglob("*_Concept_*.txt")
    return frozenset(line.split("\t")[0] for line in path.read_text("utf-8").splitlines()[1:])


def below(code: str) -> set[str]:
    """Return the concept and all below it."""
    return {one for one in everything() if code in above(one)}


def members(reference_set: str) -> set[str]:
    """Return the members of a reference set."""
    return {row[5] for row in rows("Refset_Simple") if row[4] == reference_set}


@cache
def relations() -> dict[str, list[tuple[str, str, str]]]:
    """Return concept -> (group, attribute, value); concrete values with # or quotes."""
    found: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for row in [*rows("Relationship_"), *rows("RelationshipConcreteValues")]:
        if row[7] != IS_A:
            found[row[4]].append((row[6], row[7], row[5]))
    return found


def groups(code: str) -> list[list[tuple[str, str]]]:
    """Return the role groups of a concept; what is in none is a group of its own."""
    found: dict[object, list[tuple[str, str]]] = defaultdict(list)
    for index, (group, attribute, value) in enumerate(relations()[code]):
        found[group if group != "0" else -index - 1].append((attribute, value))
    return list(found.values())
