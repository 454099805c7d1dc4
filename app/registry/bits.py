"""A string of bits, read from the left: EPC memory banks and compressed Digital Links."""

from __future__ import annotations

from functools import cache

BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_SIX = {c: f"{n:06b}" for n, c in enumerate(BASE64URL)}


class Ended(Exception):
    """More bits were asked for than there are, or they hold what they may not."""


class Bits:
    """Bits as text of 0 and 1 (a slice costs its own width only) with a reading position."""

    __slots__ = ("_at", "_text", "last")

    def __init__(self, text: str = "") -> None:
        self._text, self._at, self.last = text, 0, 0

    @classmethod
    def of_hex(cls, text: str) -> Bits:
        return cls(f"{int(text, 16):0{4 * len(text)}b}")

    @classmethod
    def of_base64url(cls, text: str) -> Bits:
        return cls("".join([_SIX[c] for c in text]))

    @property
    def left(self) -> int:
        return len(self._text) - self._at

    def take(self, width: int) -> int:
        """Return the next `width` bits as a number."""
        end = self._at + width
        if end > len(self._text):
            raise Ended
        self.last = int(self._text[self._at : end], 2) if width else 0
        self._at = end
        return self.last

    def rest(self) -> int:
        """Return what is left without moving on."""
        return int(self._text[self._at :] or "0", 2)

    def put(self, value: int, width: int) -> None:
        """Add bits at the right end."""
        if value >> width:
            raise Ended
        if width:
            self._text += f"{value:0{width}b}"

    def hex(self, multiple: int = 16) -> str:
        """Return upper-case hexadecimal digits, padded with zeros to a multiple of bits."""
        text = self._text + "0" * (-len(self._text) % multiple)
        return f"{int(text, 2):0{len(text) // 4}X}"

    def base64url(self) -> str:
        text = self._text + "0" * (-len(self._text) % 6)
        return "".join(BASE64URL[int(text[n : n + 6], 2)] for n in range(0, len(text), 6))


@cache
def number_bits(digits: int) -> int:
    """Return the bits that hold any number of so many decimal digits."""
    return int(10**digits - 1).bit_length()
