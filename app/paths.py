"""Where the data that ships with Yilian lies: beside `app` in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

_APP = Path(__file__).resolve().parent


def shipped(name: Literal["mappings", "profiles", "fixtures"]) -> Path:
    """Return the folder of that name: in the installed package if it is there, else the checkout.

    The wheel carries copies as `app/_data/<name>` (setup.py makes them while building).
    """
    packaged = _APP / "_data" / name
    return packaged if packaged.is_dir() else _APP.parent / name
