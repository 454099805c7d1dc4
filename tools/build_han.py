"""Build `app/terminology/han.txt`: traditional Chinese characters and their simplified forms.

    python tools/build_han.py TSCharacters.txt

Reads a list of a character, a tab and its simplified forms, the commonest first, such as OpenCC's;
writes the characters in one line and the commonest forms in the other. What is not in the basic
plane, or stays as it is, is left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "app" / "terminology" / "han.txt"


def pairs(text: str) -> dict[str, str]:
    """Return character -> simplified form."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        character, _, forms = line.partition("\t")
        form = (forms.split() or [character])[0]
        if len(character) == len(form) == 1 and max(character, form) <= "\uffff":
            found[character] = form
    return {character: form for character, form in sorted(found.items()) if character != form}


def main() -> None:
    found = pairs(Path(sys.argv[1]).read_text("utf-8"))
    TARGET.write_text("".join(found) + "\n" + "".join(found.values()) + "\n", "utf-8")
    print(f"{len(found)} characters")


if __name__ == "__main__":
    main()
