"""Settings: flags > environment (YILIAN_*) > yilian.toml > defaults.

`load` is pure: it gets the arguments, the environment and the text of the file, and gives back
one frozen `Settings` or raises `BadSettings` with every bad value at once. Help texts and the
table in the documentation are generated from the same fields. Values that are secrets, or may
contain one, are never repeated in a message.
"""

from __future__ import annotations

import argparse
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.errors import Invalid, Issue

FILE_NAME = "yilian.toml"

_HOST = re.compile(r"[a-z0-9\-]+(\.[a-z0-9\-]+)*|\[[0-9a-f:.]+\]", re.ASCII)
_ORIGIN = re.compile(rf"https?://({_HOST.pattern})(:\d{{1,5}})?", re.ASCII)

Network = IPv4Network | IPv6Network


class BadSettings(Invalid):
    """What is wrong with the settings: one issue for each bad value."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.issues = tuple(Issue("error", self.code, problem) for problem in problems)


class Address(NamedTuple):
    """Where a listener listens; port 0 asks the system for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def _address(text: str) -> Address | None:
    if text == "off":
        return None
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError
    return Address(host, int(port))


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(part.strip(), strict=False) for part in text.split(","))


def _hosts(text: str) -> tuple[str, ...]:
    names = tuple(part.strip().lower() for part in text.split(","))
    if not all(_HOST.fullmatch(name) for name in names):
        raise ValueError
    return names


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(part.strip().lower() for part in text.split(","))
    if not all(origin == "*" or _ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError
    return origins


def _url_of(*schemes: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        scheme, separator, rest = text.partition("://")
        if scheme not in schemes or not separator or not rest:
            raise ValueError
        return text

    return read


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 256:
        raise ValueError
    return number


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, OSError) as exc:
        raise ValueError from exc
    return text


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError
    return Path(text)


def _secret(text: str) -> str:
    if len(text) < 16:
        raise ValueError
    return text


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError
        return text

    return read


@dataclass(frozen=True, slots=True)
class _How:
    """How one setting is read and explained."""

    help: str
    allowed: str
    read: Callable[[str], Any]
    flag: str | None = None  # None: by variable or file only
    secret: bool = False  # never repeated in a message
    shown: str | None = None  # the default as the documentation says it


_HTTP = Address("127.0.0.1", 8080)
_MLLP = Address("127.0.0.1", 2575)
_DICOM = Address("127.0.0.1", 11112)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a site can decide. Parts of the hub get the values they need, not this."""

    http: Address | None = _HTTP
    mllp: Address | None = _MLLP
    dicom: Address | None = _DICOM
    allow: tuple[Network, ...] = ()
    allow_host: tuple[str, ...] = ()
    allow_origin: tuple[str, ...] = ()
    mqtt: str | None = None
    data: Path = Path("yilian-data")
    database_url: str | None = None
    workers: int | None = None
    time_zone: str = "Asia/Shanghai"
    overlay: Path | None = None
    id_secret: str | None = None
    conditional_delete: str = "single"
    rule_clock: str = "wall"

    @property
    def database(self) -> str:
        """The database's URL, also when none was given."""
        return self.database_url or f"sqlite:///{self.data.absolute() / 'yilian.db'}"

    @property
    def http_workers(self) -> int:
        """How many HTTP worker processes to start."""
        return self.workers or min(8, max(2, os.cpu_count() or 1))


_HOW: Mapping[str, _How] = {
    "http": _How(
        "where FHIR, identifiers, device intake and the console are served",
        "HOST:PORT or off",
        _address,
        flag="--http",
    ),
    "mllp": _How(
        "where HL7 v2 messages are received (MLLP)",
        "HOST:PORT or off",
        _address,
        flag="--mllp",
    ),
    "dicom": _How(
        "where DICOM objects are received (AE title YILIAN)",
        "HOST:PORT or off",
        _address,
        flag="--dicom",
    ),
    "allow": _How(
        "networks that may reach MLLP and DICOM; needed when they listen beyond this machine",
        "CIDR[,CIDR...], for example 10.20.0.0/16",
        _networks,
        flag="--allow",
        shown="none",
    ),
    "allow_host": _How(
        "names of the hub that a request may be sent to, beside localhost and loopback addresses",
        "NAME[,NAME...] without a port, for example hub.hospital.example",
        _hosts,
        flag="--allow-host",
        shown="none",
    ),
    "allow_origin": _How(
        "origins of web pages that may use the hub, beside those of its own names",
        "ORIGIN[,ORIGIN...], for example https://viewer.example, or * for all",
        _origins,
        flag="--allow-origin",
        shown="none",
    ),
    "mqtt": _How(
        "the MQTT broker whose device messages are read",
        "mqtt://[USER:PASSWORD@]HOST[:PORT] or mqtts://...",
        _url_of("mqtt", "mqtts"),
        flag="--mqtt",
        secret=True,
        shown="off",
    ),
    "data": _How(
        "the folder with the database, the id secret and what is kept of messages",
        "a folder",
        _path,
        flag="--data",
        shown="./yilian-data",
    ),
    "database_url": _How(
        "the database",
        "postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE",
        _url_of("postgresql", "sqlite"),
        flag="--database",
        secret=True,
        shown="SQLite in the data folder",
    ),
    "workers": _How(
        "number of HTTP worker processes",
        "1 to 256",
        _count,
        flag="--workers",
        shown="one for each processor, at least 2, at most 8",
    ),
    "time_zone": _How(
        "the zone of times that come without an offset",
        "an IANA time zone name",
        _zone,
        flag="--time-zone",
    ),
    "overlay": _How(
        "the folder with this site's own mappings and tables, laid over the built-in ones",
        "a folder",
        _path,
        flag="--overlay",
        shown="none",
    ),
    "id_secret": _How(
        "the secret behind ids that are computed from business identities",
        "at least 16 characters",
        _secret,
        secret=True,
        shown="id.key in the data folder",
    ),
    "conditional_delete": _How(
        "what a delete by criteria does that meets several resources: refuse, or delete them all",
        "single or multiple",
        _one_of("single", "multiple"),
    ),
    "rule_clock": _How(
        "what time rules go by: this machine's clock, or the newest event time seen",
        "wall or event",
        _one_of("wall", "event"),
    ),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadSettings([message])


def flags(*names: str) -> argparse.ArgumentParser:
    """Return a parser with the settings' flags (or those of `names`), to use as a parent.

    What is not given is absent from the namespace; what is given stays text for `resolve`.
    """
    parser = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("settings")
    for name, how in _HOW.items():
        if how.flag and (not names or name in names):
            default = how.shown or str(_default(name))
            group.add_argument(
                how.flag,
                dest=name,
                metavar="VALUE",
                help=f"{how.help}: {how.allowed} [{variable(name)}; default: {default}]",
            )
    return parser


def load(argv: Sequence[str], environ: Mapping[str, str], file: str | None) -> Settings:
    """Return the settings of `argv` (settings' flags only), environment and the file's text.

    Raises BadSettings with a line for each bad value: its name, where it stands, what is allowed.
    """
    return resolve(vars(flags().parse_args(argv)), environ, file)


def resolve(given: Mapping[str, Any], environ: Mapping[str, str], file: str | None) -> Settings:
    """As `load`, with flags that were parsed already; keys that are no settings are left alone."""
    problems: list[str] = []
    in_file = _read_file(file, problems)
    values: dict[str, Any] = {}
    for name, how in _HOW.items():
        sources = (
            (given.get(name), how.flag or name),
            (environ.get(variable(name)), f"{variable(name)} (environment)"),
            (in_file.get(name), f"{name} ({FILE_NAME})"),
        )
        text, source = next((found for found in sources if found[0] is not None), (None, ""))
        if text is None:
            continue
        try:
            values[name] = how.read(text)
        except ValueError:
            seen = "not usable" if how.secret else f"{text!r} is not usable"
            problems.append(f"{source}: {seen}; expected {how.allowed}")
    settings = Settings(**values)
    problems += _exposed(settings)
    if problems:
        raise BadSettings(problems)
    return settings


def gather(given: Mapping[str, Any]) -> Settings:
    """As `resolve`, with this process's environment and the file in the current folder."""
    file = Path(FILE_NAME)
    return resolve(given, os.environ, file.read_text("utf-8") if file.is_file() else None)


def variable(name: str) -> str:
    """Return the environment variable of a setting: YILIAN_TIME_ZONE."""
    return f"YILIAN_{name.upper()}"


def table() -> str:
    """Return the settings as a Markdown table, for the documentation."""
    rows = [
        f"| {f'`{how.flag}`' if how.flag else ''} | `{variable(name)}` | `{name}` |"
        f" {how.shown or str(_default(name))} | {how.help}: {how.allowed} |"
        for name, how in _HOW.items()
    ]
    head = [
        "| flag | variable | in the file | default | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows]) + "\n"


def _default(name: str) -> Any:
    return next(f.default for f in fields(Settings) if f.name == name)


def _read_file(text: str | None, problems: list[str]) -> dict[str, str]:
    """Return the file's values as text, as if they had been given as variables."""
    if text is None:
        return {}
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        # The library's message names line and column, and at most one character of the text.
        problems.append(f"{FILE_NAME}: {exc}")
        return {}
    values = {}
    for name, value in content.items():
        if name not in _HOW:
            problems.append(f"{name} ({FILE_NAME}): there is no such setting")
        elif isinstance(value, bool | dict):
            problems.append(f"{name} ({FILE_NAME}): expected {_HOW[name].allowed}")
        else:
            values[name] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return values


def _exposed(settings: Settings) -> list[str]:
    """Return what would be reachable from other machines without protection."""
    problems = []
    if settings.http and not settings.http.loopback:
        problems.append(
            f"--http: {settings.http} can be reached from other machines, and this version has no"
            " sign-in yet; use a loopback address (127.0.0.1) and a proxy that authenticates"
        )
    for flag, address in (("--mllp", settings.mllp), ("--dicom", settings.dicom)):
        if address and not address.loopback and not settings.allow:
            problems.append(
                f"{flag}: {address} can be reached from other machines; say which networks may"
                " with --allow CIDR"
            )
    return problems
