"""Whether a display is one of a concept's names: R4 valueset-operation-validate-code.html.

Case does not count. With languages wanted, a name in one of them has to be met; a system that does
not say its language is taken to be in any.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.terminology.issues import TxIssue, issue
from app.terminology.languages import Wanted
from app.terminology.names import Name, default


def check(
    display: str,
    found: Sequence[Name],
    wanted: Wanted,
    at: str,
    *,
    system: str,
    code: str,
    lenient: bool,
) -> TxIssue | None:
    """Return what is wrong with a display, None for a right one."""
    same = _folded(display)
    active = [name for name in found if not name.status]
    valid = [n for n in active if _serves(n, wanted)]
    if any(_folded(name.value) == same for name in valid):
        return None
    about = {"display": display, "code": code, "languages": wanted.text}
    retired = next((n for n in found if n.status and _folded(n.value) == same), None)
    if retired is not None:
        right = '", "'.join(name.value for name in valid if name.listed)
        return issue("INACTIVE_DISPLAY_FOUND", at, status=retired.status, choices=right, **about)
    severity = "warning" if lenient else "error"
    about["system"] = system
    if not any(name.listed for name in valid):
        if any(_folded(name.value) == same for name in active):
            return issue("NO_VALID_DISPLAY_FOUND_NONE_FOR_LANG_OK", at, **about)
        usual = default(active)
        about["default"] = usual.value if usual else ""
        kind = "NO_VALID_DISPLAY_FOUND_NONE_FOR_LANG_ERR"
        return issue(kind, at, severity=severity, **about)
    kind = "Display_Name_for__should_be_one_of__instead_of"
    if any(_folded(name.value).split() == same.split() for name in valid):
        kind = "Display_Name_WS_for__should_be_one_of__instead_of"
    return issue(kind, at, severity=severity, choices=_choices(valid), **about)


def _serves(name: Name, wanted: Wanted) -> bool:
    return not wanted.tags or name.language is None or wanted.rank(name.language) is not None


def _folded(text: str) -> str:
    return text.casefold()


def _choices(valid: Sequence[Name]) -> str:
    """Return the right displays as messages list them: 'A' (en) or 'B' (de)."""
    shown = list(
        dict.fromkeys(
            f"'{name.value}'" + (f" ({name.language})" if name.language else "")
            for name in valid
            if name.listed
        )
    )
    if len(shown) == 1:
        return shown[0]
    return f"one of {len(shown)} choices: {', '.join(shown[:-1])} or {shown[-1]}"
