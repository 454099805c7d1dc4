"""The house rules that a machine can check: who may import whom, and what may not be committed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from app.logs import FIELDS

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "app"

GROUND = {"errors", "settings", "logs", "clock", "paths", "memory"}
KNOWING = {"terminology", "registry", "mpi", "rules", "security"}

# A part may import itself, the ground floor and the parts named here.
MAY_IMPORT: dict[str, set[str]] = {
    **{name: set() for name in GROUND},
    "fhir": set(),
    "store": {"fhir"},
    "mapping": {"fhir"},
    **{name: {"store", "fhir"} for name in KNOWING},
    **{name: {"store", "fhir", "mapping", *KNOWING} for name in ("feeds", "rest", "console")},
}
DATABASE_FREE = ("app.mapping", "app.registry.schemes")  # `convert` and `id parse` open no database
FLASK_ALLOWED = ("rest", "console", "hub")


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(APP.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path


@cache
def _nodes(path: Path) -> list[ast.AST]:
    """Return every node of a file's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def _imports(path: Path, name: str) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything a module imports, wherever in it."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in _nodes(path):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def _part(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def _feed(module: str) -> str | None:
    """Return the feed's package a module is in; what all feeds share (inbox) is in none."""
    match = re.match(r"app\.feeds\.(\w+)", module)
    return match[1] if match and (APP / "feeds" / match[1]).is_dir() else None


def test_imports_point_downward_and_siblings_do_not_meet():
    wrong = []
    for name, path in _modules():
        part = _part(name)
        if part not in MAY_IMPORT:
            continue  # hub, cli and the commands beside them know everyone
        allowed = MAY_IMPORT[part] | GROUND | {part}
        for line, target in _imports(path, name):
            if not target.startswith("app."):
                continue
            if _part(target) not in allowed or len({_feed(name), _feed(target)} - {None}) > 1:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {target}")

    assert not wrong, "\n".join(wrong)


def test_only_the_doors_and_the_hub_know_flask():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for name, path in _modules()
        if _part(name) not in FLASK_ALLOWED
        for line, target in _imports(path, name)
        if target.split(".")[0] in ("flask", "werkzeug")
    ]

    assert not wrong, "\n".join(wrong)


def test_the_ground_floor_needs_the_standard_library_only():
    allowed = sys.stdlib_module_names | {"app"}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for name, path in _modules()
        if _part(name) in GROUND
        for line, target in _imports(path, name)
        if target.split(".")[0] not in allowed
    ]

    assert not wrong, "\n".join(wrong)


def test_mapping_and_schemes_open_no_database():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for name, path in _modules()
        if name.startswith(DATABASE_FREE)
        for line, target in _imports(path, name)
        if target.startswith(("app.store", "sqlalchemy", "sqlite3", "psycopg"))
    ]

    assert not wrong, "\n".join(wrong)


def _tracked() -> list[Path]:
    """Return the files of the repository, committed or about to be."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.fail("this test reads the list of files from git; run it in a clone")
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [ROOT / name for name in names]


# Written in pieces so that this file does not contain what it looks for. (ruff bans sleeps.)
_BANNED = {
    "a machine's path": r"(?<![\w.}$])/(?:wor" + r"k|hom" + r"e/\w+|roo" + r"t|Use" + r"rs/\w+)/",
    "an unfinished place": r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b",
    "a patch by dotted path": r"(?:monkey|mock\.)pat" + r"ch(?:\.setattr)?\(\s*[\"']",
    "a package index address": r"https?://(?:[\w.-]+\.)?(?:py"
    + r"pi\.org|pythonhos"
    + r"ted\.org)",
}
_CODE = {".py", ".toml", ".sh", ".md", ".yaml", ".yml", ".txt", ""}


def test_nothing_is_committed_that_should_not_be():
    wrong = []
    for path in _tracked():
        if path.suffix not in _CODE or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for what, pattern in _BANNED.items():
            for match in re.finditer(pattern, text):
                line = text.count("\n", 0, match.start()) + 1
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {what}: {match.group()}")

    assert not wrong, "\n".join(wrong)


def test_a_broad_except_stands_only_where_one_may():
    """A door's outermost frame, a worker loop and the command line (house style, Errors)."""
    places: dict[str, int] = {}
    for name, path in _modules():
        for node in _nodes(path):
            if isinstance(node, ast.ExceptHandler) and (
                node.type is None
                or (
                    isinstance(node.type, ast.Name)
                    and node.type.id in ("Exception", "BaseException")
                )
            ):
                reraises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
                if not reraises:
                    places[name] = places.get(name, 0) + 1

    unknown = [name for name in places if _part(name) in GROUND | {"fhir", "mapping"}]
    assert not unknown, unknown


_LOGGING = {"debug", "info", "warning", "error", "exception", "critical"}


def test_log_messages_are_constants_and_their_fields_are_allowed():
    """A field that `logs.py` does not list would be dropped without a word."""
    wrong = []
    for name, path in _modules():
        for node in _nodes(path):
            if not (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in _LOGGING
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id in ("log", "logger")
            ):
                continue
            where = f"{name}:{node.lineno}"
            message = node.args[0]
            text = message.value if isinstance(message, ast.Constant) else ""
            if len(node.args) != 1 or not re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", str(text)):
                wrong.append(f"{where}: the message is not a constant like `inbox.accepted`")
            for keyword in node.keywords:
                if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
                    keys = {k.value for k in keyword.value.keys if isinstance(k, ast.Constant)}
                    wrong += [f"{where}: {key} is no allowed field" for key in keys - FIELDS]

    assert not wrong, "\n".join(wrong)
