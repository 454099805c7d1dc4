"""The device mappings of an installation: shipped files, overlays of the site, one file given.

A file that says `mapping: shared` is part of every mapping; any other is one mapping by its name.
`constants.match` lists the paths a payload has to have for the mapping to take it unasked,
`constants.aliases` further names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import Invalid, NotFound
from app.feeds.iot.paths import present
from app.feeds.iot.source import IotSource
from app.feeds.iot.vocabulary import Vocabulary
from app.mapping.compile import compile_library
from app.mapping.library import (
    File,
    merge,
    parse_file,
    read_file,
    read_folder,
    shipped_only,
    unconditional,
)
from app.mapping.near import meant
from app.mapping.run import Mapping_
from app.mapping.yamldoc import Block

SHARED = "shared"
ASSIGNERS = "assigners.yaml"


@dataclass(frozen=True, slots=True)
class Entry:
    """One compiled mapping, the vocabulary that belongs to it, and its constants."""

    name: str
    mapping: Mapping_
    vocabulary: Vocabulary
    constants: Mapping[str, Any]


class Catalogue:
    """Mappings by name, compiled when they are first asked for."""

    def __init__(self, folders: Sequence[Path], files: Iterable[Path] = ()) -> None:
        found = [file for folder in folders if folder.is_dir() for file in read_folder(folder)]
        self._given = [_given(path) for path in files]
        self._files = found + self._given
        self._names: dict[str, str] = {}
        self._match: dict[str, tuple[str, ...]] = {}
        for file in unconditional(self._files):
            self._register(file)
        for file in self._files:
            if file.overlay:
                self._expect(file)
        self._compiled: dict[tuple[str, bool], Entry] = {}

    def _register(self, file: File) -> None:
        name = file.body.get("mapping")
        if file.overlay or name == SHARED:
            return
        if not isinstance(name, str):
            raise Invalid("a mapping file says `mapping: NAME`", at=f"{file.name}:1")
        if file.body.get("source", "iot") != "iot":
            at = f"{file.name}:{file.body.lines['source']}"
            raise Invalid("a mapping of device messages says `source: iot`", at=at)
        self._names[name] = name
        for alias in _listed(file, "aliases"):
            self._names[alias] = name
        self._match[name] = _listed(file, "match")

    def _expect(self, overlay: File) -> None:
        """Raise Invalid for an overlay of a mapping that does not exist."""
        name = str(overlay.body["overlay"])
        if name != SHARED and name not in self._names:
            text = f"there is no device mapping `{name}` to change{meant(name, self._names)}"
            raise Invalid(text, at=f"{overlay.name}:{overlay.body.lines['overlay']}")

    @property
    def names(self) -> list[str]:
        return sorted(self._match)

    @property
    def given(self) -> str | None:
        """The name of the mapping that was given as a file."""
        names = [file.body.get("mapping") for file in self._given if not file.overlay]
        return str(names[-1]) if names else None

    def knows(self, name: str) -> bool:
        return name in self._names

    def get(self, name: str, *, trace: bool = False) -> Entry:
        """Return a mapping by its name or alias. Raises NotFound, or Invalid for a broken file."""
        real = self._names.get(name)
        if real is None:
            raise NotFound("there is no device mapping of that name", at="mapping")
        found = self._compiled.get((real, trace))
        if found is None:
            parts = [f for f in self._files if self._belongs(f, real)]
            library = merge(real, parts)
            check = not shipped_only(parts)
            compiled = compile_library(library, IotSource(), check=check, trace=trace)
            found = Entry(real, compiled, Vocabulary(library.tables), library.constants)
            self._compiled[(real, trace)] = found
        return found

    def check(self) -> None:
        """Compile the mappings that have files of the site. Raises Invalid for one that is wrong.

        What ships has been checked.
        """
        for name in self.names:
            if not shipped_only(file for file in self._files if self._belongs(file, name)):
                self.get(name)

    def _belongs(self, file: File, name: str) -> bool:
        if file.overlay:
            return self._names.get(str(file.body["overlay"]), file.body["overlay"]) in (
                name,
                SHARED,
            )
        return file.body.get("mapping") in (name, SHARED)

    def matching(self, payload: Any) -> list[str]:
        """Return the mappings whose paths a payload all has; of those the most demanding ones."""
        counts = {
            name: len(paths)
            for name, paths in self._match.items()
            if paths and all(present(payload, path) for path in paths)
        }
        most = max(counts.values(), default=0)
        return [name for name, count in counts.items() if count == most]

    def fits(self, name: str, payload: Any) -> bool:
        """Say whether a payload has any of the paths of the mapping that it is said to be for."""
        paths = self._match[name]
        return not paths or any(present(payload, path) for path in paths)


def _listed(file: File, name: str) -> tuple[str, ...]:
    """Return a constant that is a list of texts. Raises Invalid for anything else."""
    constants = file.body.get("constants")
    if not isinstance(constants, Block) or constants.get(name) is None:
        return ()
    found = constants[name]
    if not isinstance(found, list) or any(isinstance(one, (dict, list)) for one in found):
        at = f"{file.name}:{constants.lines[name]}"
        raise Invalid(f"`{name}` is a list: [ONE, TWO]", at=at)
    return tuple(str(one) for one in found)


def _given(path: Path) -> File:
    """Return a mapping file given on the command line: YAML, or JSON (which is YAML too)."""
    file = read_file(path, path.name)
    if "mapping" in file.body or file.overlay:
        return file
    return parse_file(f"mapping: {path.stem}\n".encode() + path.read_bytes(), path.name)
