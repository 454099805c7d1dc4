"""The tables of facts in `app/terminology/data`: lines of cells parted by tabs.

Lines that begin with `#` say where the facts are from and of which version; then comes a line of
column names. Most of the tables are written by `tools/build_code_lists.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

_VERSION = "# version: "


@dataclass(frozen=True, slots=True)
class Table:
    """The version of a table and its rows, each with a cell for every column."""

    version: str
    rows: Sequence[Sequence[str]]


def table(name: str) -> Table:
    """Return a table of the data folder."""
    folder = resources.files("app.terminology").joinpath("data")
    lines = folder.joinpath(f"{name}.tsv").read_text("utf-8").splitlines()
    version = next(line for line in lines if line.startswith(_VERSION))[len(_VERSION) :]
    first, *rest = (line.split("\t") for line in lines if not line.startswith("#"))
    width = len(first)
    return Table(version, [row + [""] * (width - len(row)) for row in rest])
