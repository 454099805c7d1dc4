"""`yilian load PATH...`: resources, Bundles, NDJSON, FHIR packages, code lists, SNOMED CT releases.

Works on a running hub's data folder (through the hub's writer) and on one where none runs. A code
system with many concepts goes to tables of its own, all of it or nothing; what is loaded already is
not loaded again, so that a load that was interrupted goes on when it is called again.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app import api, clock, settings
from app.errors import Invalid, Malformed, NotFound, YilianError
from app.fhir import json as fhir_json
from app.fhir import validate
from app.hub import Hub
from app.store.types import Change, Method, Result
from app.terminology.load import code_list, code_system, resources, rf2
from app.terminology.load.resources import Loaded
from app.terminology.stored import loading
from app.terminology.stored.build import Draft
from app.terminology.stored.rows import READY
from app.terminology.types import Json

_TOGETHER = 100  # resources committed together
_TOGETHER_BYTES = 4 << 20
_LISTS = (".csv", ".tsv")
_RESOURCES = (
    ".json", ".ndjson", ".jsonl", ".json.gz", ".ndjson.gz", ".jsonl.gz", ".tgz", ".tar.gz",
)  # fmt: skip
_FORMAT = b"1"  # of what is made of a file: another number has everything loaded anew
_MOST_SHOWN = 20
_HEADERS_MOST = 1000  # versions of one code system

_EPILOG = """\
A code list (CSV) has a first line with the names of its columns: code, display, definition,
parent, status, effective, pinyin, designation:zh-CN, designation:en; any other is a property.
It needs --url, or --header with a CodeSystem that has no concepts.

Exit code 1: something in the input was wrong and is not loaded, the rest is.
"""


def main(argv: Sequence[str], stdin: IO[bytes], stdout: IO[str]) -> int:
    """Load, list or remove; return 1 when something in the input was wrong."""
    args = _parser().parse_args(argv)
    with _hub(args) as hub:
        if args.list:
            return _list(hub, stdout)
        if args.remove:
            return _remove(hub, args.remove, stdout)
        if not args.paths:
            raise Invalid("say what to load")
        with _progress() as progress:
            work = Work(hub, args, stdout, progress)
            for path in args.paths:
                work.load(Path(path))
        return work.code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="yilian load",
        description="Load FHIR resources (JSON, NDJSON, Bundles, packages; also .gz) and"
        " terminology: code lists in CSV, SNOMED CT snapshot releases (RF2 folder or .zip).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[settings.flags("data", "database_url")],
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files or folders")
    parser.add_argument("--again", action="store_true", help="also what is loaded already")
    parser.add_argument("--list", action="store_true", help="show the code systems in tables")
    parser.add_argument("--remove", metavar="URL[|VERSION]", help="forget a code system in tables")
    lists = parser.add_argument_group("code lists")
    lists.add_argument("--header", metavar="FILE", help="CodeSystem resource without concepts")
    lists.add_argument("--url", help="canonical url of the code system")
    lists.add_argument("--version", help="its version")
    lists.add_argument("--title", help="its title")
    lists.add_argument("--language", metavar="TAG", help="language of its displays, such as zh-CN")
    lists.add_argument(
        "--by-prefix",
        action="store_true",
        help="a code without a parent is below the longest other code it begins with",
    )
    lists.add_argument(
        "--levels", metavar="N,N", help="with --by-prefix: lengths of the codes that have others"
    )
    lists.add_argument("--encoding", help="of the file, when it is not to be guessed")
    releases = parser.add_argument_group("SNOMED CT releases")
    releases.add_argument("--edition", metavar="MODULE", help="module that the version names")
    return parser


def _hub(args: argparse.Namespace) -> Hub:
    chosen = settings.gather(vars(args))
    return Hub.open(chosen.database, data=chosen.data)


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _list(hub: Hub, stdout: IO[str]) -> int:
    states = {0: "loading", READY: "ready"}
    for one in loading.versions(hub.store):
        state = states.get(one.state, "going")
        at = clock.instant(one.touched_us)
        row = (one.url, one.version, str(one.size) if one.size else "", state, at)
        stdout.write("\t".join(row) + "\n")
    return 0


def _remove(hub: Hub, canonical: str, stdout: IO[str]) -> int:
    url, bar, version = canonical.partition("|")
    count = loading.remove(hub.store, url, version if bar else None)
    if not count:
        raise NotFound("there is no such code system in tables; --list shows them")
    headers = f"url={quote(url, safe='')}" + (f"&version={quote(version, safe='')}" if bar else "")
    for one in hub.store.matching("CodeSystem", headers, _HEADERS_MOST):
        if fhir_json.load(one.body).get("content") == "not-present":
            hub.store.commit([Change(Method.DELETE, "CodeSystem", one.id)])
    stdout.write(f"{count} removed\n")
    return 0


@dataclass
class Work:
    """One call of the command: what it loads into, and how it went."""

    hub: Hub
    args: argparse.Namespace
    stdout: IO[str]
    progress: Progress
    code: int = 0
    shown: int = 0
    known: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not self.args.again:
            self.known = {
                one.digest for one in loading.versions(self.hub.store) if one.state == READY
            }

    def load(self, path: Path) -> None:
        """Load a file, a release or all files of a folder."""
        self.shown = 0
        if not path.exists():
            raise NotFound(f"there is no file {path}")
        try:
            if self._release(path):
                return
            if path.is_dir():
                for inner in sorted(p for p in path.rglob("*") if _is_loadable(p)):
                    self.load(inner)
            elif path.name.lower().endswith(_LISTS):
                self._code_list(path)
            elif path.name.lower().endswith(_RESOURCES):
                self._resources(path)
            else:
                raise Malformed("this kind of file cannot be loaded", at=path.name)
        except YilianError as exc:
            self._complain(exc)
        except OSError as exc:
            self._complain(Malformed(f"the file cannot be read: {exc.strerror}", at=path.name))

    def _release(self, path: Path) -> bool:
        if not path.is_dir() and path.suffix.lower() != ".zip":
            return False
        with rf2.release(path) as files:
            if not rf2.is_release(files):
                return False
            edition = self.args.edition
            digest = _digest([(edition or "").encode()], (file.open for file in files))
            self._system(path.name, digest, lambda: rf2.draft_of(files, edition=edition))
        return True

    def _code_list(self, path: Path) -> None:
        header = self._header()
        levels = [int(part) for part in (self.args.levels or "").split(",") if part.isdigit()]
        rules = code_list.Rules(self.args.by_prefix, levels, self.args.encoding)
        options = [orjson.dumps(header), repr(rules).encode()]
        digest = _digest(options, [lambda: path.open("rb")])
        self._system(path.name, digest, lambda: code_list.draft_of(path, header, rules))

    def _header(self) -> Json:
        """Return the CodeSystem that the options describe."""
        header: Json = {"resourceType": "CodeSystem", "status": "active"}
        if self.args.header:
            header |= code_system.header_of(Path(self.args.header).read_bytes())
        given = {name: getattr(self.args, name) for name in ("url", "version", "title", "language")}
        header |= {name: value for name, value in given.items() if value}
        if not header.get("url"):
            raise Invalid("a code list needs --url, or --header with a url")
        header.setdefault("caseSensitive", True)
        header.setdefault("hierarchyMeaning", "is-a")
        return {**header, "content": header.get("content", "complete")}

    # --- code systems --------------------------------------------------------------------------

    def _system(self, name: str, digest: bytes, read: Callable[[], tuple[Json, Draft]]) -> None:
        """Load one version of a code system into its tables."""
        if digest in self.known:
            self.stdout.write(f"{name}: loaded already\n")
            return
        task = self.progress.add_task(name, total=None)
        header, draft = read()
        self.progress.update(task, total=len(draft))
        resource = _without_concepts(header, len(draft))
        _check(resource)
        count = loading.load(
            self.hub.store,
            header,
            draft,
            digest,
            lambda done: self.progress.update(task, advance=done),
        )
        self._commit_one(resource)
        self.known.add(digest)
        version = f" {header['version']}" if header.get("version") else ""
        self.stdout.write(f"{name}: {header['url']}{version}: {count} concepts\n")

    def _commit_one(self, resource: Json) -> None:
        body = orjson.dumps(resource)
        head = resources.Head(
            "CodeSystem", resource.get("id"), resource["url"], resource.get("version")
        )
        id_ = self._id_of(head) or _derived_id(head)
        self.hub.store.commit([Change(Method.UPDATE, "CodeSystem", id_, body=_with_id(body, id_))])

    # --- resources -----------------------------------------------------------------------------

    def _resources(self, path: Path) -> None:
        task = self.progress.add_task(path.name, total=None)
        counts = dict.fromkeys(Result, 0)
        waiting: list[tuple[Change, str]] = []
        size = 0

        def flush() -> None:
            for result in self._commit(waiting):
                counts[result] += 1
            self.progress.update(task, advance=len(waiting))
            waiting.clear()

        for one in resources.read(path):
            if isinstance(one, Malformed):
                self._complain(one)
            elif one.is_transaction:
                flush()
                for result in self._transaction(one):
                    counts[result] += 1
            elif one.head.resource_type == "CodeSystem" and self._large(one):
                continue
            else:
                waiting.append((self._change(one), one.where))
                size += len(one.body)
                if len(waiting) >= _TOGETHER or size >= _TOGETHER_BYTES:
                    flush()
                    size = 0
        flush()
        said = ", ".join(f"{count} {result}" for result, count in counts.items() if count)
        self.stdout.write(f"{path.name}: {said or 'nothing'}\n")

    def _large(self, one: Loaded) -> bool:
        """Load a CodeSystem with many concepts into tables; say whether it was one."""
        try:
            if not one.head.url or not code_system.is_large(one.body):
                return False
            digest = _digest([], [lambda: _Bytes(one.body)])
            self._system(one.where, digest, lambda: code_system.draft_of(one.body, one.where))
        except YilianError as exc:
            self._complain(exc, where=one.where)
        return True

    def _change(self, one: Loaded) -> Change:
        id_ = self._id_of(one.head)
        if id_ is None:
            return Change(Method.CREATE, one.head.resource_type, body=one.body)
        body = one.body if id_ == one.head.id else _with_id(one.body, id_)
        return Change(Method.UPDATE, one.head.resource_type, id_, body=body)

    def _id_of(self, head: resources.Head) -> str | None:
        """Return the id to write under: the resource's, unless another version has it already."""
        if head.id is None or head.url is None:
            return head.id
        there = self.hub.store.lookup(head.resource_type, head.id)
        if there is None or there.deleted:
            return head.id
        other = fhir_json.load(there.body)
        if (other.get("url"), other.get("version")) == (head.url, head.version):
            return head.id
        return _derived_id(head)

    def _commit(self, waiting: Sequence[tuple[Change, str]]) -> Iterator[Result]:
        """Commit together; if that is refused, each alone, and say which are wrong."""
        if not waiting:
            return
        try:
            outcomes = self.hub.store.commit([change for change, _ in waiting])
        except YilianError as exc:
            if len(waiting) == 1:
                self._complain(exc, where=waiting[0][1])
                return
            for one in waiting:
                yield from self._commit([one])
            return
        yield from (outcome.result for outcome in outcomes)

    def _transaction(self, one: Loaded) -> Iterator[Result]:
        """Process a Bundle as if it were posted."""
        try:
            answer = self.hub.transaction(api.from_bytes(one.body))
        except YilianError as exc:
            self._complain(exc, where=one.where)
            return
        for index, entry in enumerate(answer.get("entry", ())):
            status = str(entry.get("response", {}).get("status", ""))
            if status.startswith(("4", "5")):
                where = f"{one.where} entry[{index}]"
                self._complain(Invalid("the entry is refused", at=where))
            else:
                yield Result.CREATED if status.startswith("201") else Result.UPDATED

    # --- saying --------------------------------------------------------------------------------

    def _complain(self, error: YilianError, *, where: str = "") -> None:
        """Say on standard error what is wrong, a line an issue."""
        self.code = 1
        for issue in error.issues:
            at = " ".join(part for part in (where, issue.at or "") if part)
            self.shown += 1
            if self.shown <= _MOST_SHOWN:
                self.progress.console.print(
                    f"{at}: {issue.text}" if at else issue.text,
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
            elif self.shown == _MOST_SHOWN + 1:
                self.progress.console.print("and more", markup=False)


class _Bytes:
    """Bytes to be digested as a file would be."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, size: int) -> bytes:
        content, self._content = self._content, b""
        return content

    def close(self) -> None:
        self._content = b""


def _digest(options: Iterable[bytes], files: Iterable[Callable[[], Any]]) -> bytes:
    """Return what tells whether the same is to be loaded again."""
    digest = hashlib.sha256(_FORMAT)
    for option in options:
        digest.update(option + b"\0")
    for opened in files:
        file = opened()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
        file.close()
    return digest.digest()


def _is_loadable(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith((*_LISTS, *_RESOURCES))


def _derived_id(head: resources.Head) -> str:
    """Return an id that a canonical url and version always have."""
    canonical = f"{head.url}|{head.version or ''}"
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _with_id(body: bytes, id_: str) -> bytes:
    resource = api.from_bytes(body)
    return api.to_bytes({"resourceType": resource["resourceType"], **resource, "id": id_})


def _without_concepts(header: Json, count: int) -> Json:
    """Return the resource that is read at /CodeSystem in place of the whole code system."""
    return {**header, "resourceType": "CodeSystem", "content": "not-present", "count": count}


def _check(resource: Json) -> None:
    """Raise Invalid for a header that could not be stored."""
    if not validate.check(resource, "CodeSystem"):
        raise Invalid.of(validate.problems(resource, "CodeSystem"))
