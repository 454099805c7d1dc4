"""Which version of a code system or value set a request asks for.

R4 valueset-operation-expand.html and the terminology ecosystem guide: `force-system-version`
replaces the version of an include, `system-version` is used where it has none,
`check-system-version` likewise, and is checked afterwards; `default-valueset-version` is for
imports without a version. Each is `url|version`; the version may be a pattern.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.terminology import versions
from app.terminology.call import Call
from app.terminology.canonicals import split
from app.terminology.issues import TxIssue, issue

FORCE, DEFAULT, CHECK = "force-system-version", "system-version", "check-system-version"


@dataclass(frozen=True, slots=True)
class Asked:
    """The version asked for of one code system: `stated` by the include, `version` in the end."""

    stated: str | None
    version: str | None

    @property
    def changed(self) -> bool:
        """Whether a parameter decided, not the value set."""
        return self.stated != self.version


@dataclass(slots=True)
class Pins:
    """The versions that a request pins; `used` holds those that decided something."""

    by_kind: Mapping[str, Mapping[str, str]]
    value_sets: Mapping[str, str]
    used: dict[tuple[str, str], None] = field(default_factory=dict)

    def asked(self, system: str, stated: str | None) -> Asked:
        """Return the version that an include of a system asks for."""
        forced = self.by_kind[FORCE].get(system)
        if forced is not None:
            self.used[FORCE, f"{system}|{forced}"] = None
            return Asked(stated, forced)
        if stated is None:
            for kind in (DEFAULT, CHECK):
                version = self.by_kind[kind].get(system)
                if version is not None:
                    self.used[kind, f"{system}|{version}"] = None
                    return Asked(None, version)
        return Asked(stated, stated)

    def refused(self, system: str, version: str | None, at: str | None) -> TxIssue | None:
        """Return the issue of a version that is not the one to be checked for."""
        required = self.by_kind[CHECK].get(system)
        if required is None or version is None or versions.fits(required, version):
            return None
        return issue(
            "VALUESET_VERSION_CHECK", at, system=system, version=version, required=required
        )


def read(call: Call) -> Pins:
    """Return what a call pins."""
    return Pins(
        {kind: _pairs(call.texts(kind)) for kind in (FORCE, DEFAULT, CHECK)},
        _pairs(call.texts("default-valueset-version")),
    )


def _pairs(canonicals: Sequence[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for text in canonicals:
        url, version = split(text)
        if version:
            found.setdefault(url, version)
    return found
