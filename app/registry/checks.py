"""Check characters: one function per published algorithm, each giving the right character.

A caller compares; nothing here raises. The text has to be of the algorithm's alphabet already.
"""

from __future__ import annotations

DIGITS = "0123456789"
CSET82 = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
CSET39 = "#-/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CSET64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_="
MOD43 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-. $/+%"
MOD37 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*"
MOD31 = "0123456789ABCDEFGHJKLMNPQRTUWXY"
PAIR32 = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"

_VALUE82 = {c: n for n, c in enumerate(CSET82)}
_VALUE43 = {c: n for n, c in enumerate(MOD43)}
_VALUE31 = {c: n for n, c in enumerate(MOD31)}
# Weights from the right end of the text, which is at most 23 characters (GS1 General
# Specifications, check character pair of the Global Model Number).
_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83)
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_GB11714 = (3, 7, 9, 10, 5, 8, 4, 2)
_GB32100 = tuple(pow(3, i, 31) for i in range(17))
_GB11643 = tuple(pow(2, i, 11) for i in range(17, 0, -1))


def gs1(body: str) -> str:
    """Return the GS1 check digit of `body`: modulo 10, weights 3 and 1 from the right."""
    values = body.encode()
    odd, even = values[-1::-2], values[-2::-2]
    total = 3 * (sum(odd) - 48 * len(odd)) + sum(even) - 48 * len(even)
    return DIGITS[-total % 10]


def pair_1021(body: str) -> str:
    """Return the GS1 check character pair: CSET 82 values times primes, modulo 1021."""
    total = sum(p * _VALUE82[c] for p, c in zip(_PRIMES, reversed(body), strict=False)) % 1021
    return PAIR32[total >> 5] + PAIR32[total & 31]


def hibc(body: str) -> str:
    """Return the HIBC check character (ANSI/HIBC 2): the sum of the values modulo 43."""
    values = _VALUE43
    return MOD43[sum([values[c] for c in body]) % 43]


def mod_37_2(body: str) -> str:
    """Return the ISO/IEC 7064 MOD 37-2 check character, as ISBT 128 prints it in a box."""
    total = 0
    for c in body:
        total = (total + int(c, 36)) * 2 % 37
    return MOD37[(38 - total) % 37]


def mod_11_2(body: str) -> str:
    """Return the ISO/IEC 7064 MOD 11-2 check character of 17 digits (GB 11643, X = 10)."""
    total = sum([w * (v - 48) for w, v in zip(_GB11643, body.encode(), strict=False)])
    return "0123456789X"[(12 - total) % 11]


def mod_31_3(body: str) -> str:
    """Return the check character of a unified social credit code (GB 32100, 17 characters)."""
    total = sum([w * _VALUE31[c] for w, c in zip(_GB32100, body, strict=False)])
    return MOD31[-total % 31]


def gb_11714(body: str) -> str:
    """Return the check character of an organisation code (GB 11714, 8 characters, X = 10)."""
    total = sum(w * int(c, 36) for w, c in zip(_GB11714, body, strict=False))
    return "0123456789X0"[11 - total % 11]


def luhn(body: str) -> str:
    """Return the Luhn check digit of `body` (ISO/IEC 7812-1 annex B)."""
    total = 0
    for n, c in enumerate(reversed(body)):
        total += int(c) if n % 2 else _DOUBLED[int(c)]
    return DIGITS[-total % 10]


def hk_id(letters: str, digits: str) -> str:
    """Return the check character of a Hong Kong identity card: modulo 11, A = 10."""
    first = 36 if len(letters) == 1 else int(letters[0], 36)  # a space counts 36
    total = 9 * first + 8 * int(letters[-1], 36)
    total += sum((7 - n) * int(c) for n, c in enumerate(digits))
    return "0123456789A"[-total % 11]


# Region letters in the order of their two-digit values 10 to 35.
_TW_LETTERS = "ABCDEFGHJKLMNPQRSTUVXYWZIO"


def tw_id(letter: str, digits: str) -> str:
    """Return the check digit of a Taiwan identity number: letter value, weights 1 9 8 .. 1."""
    value = _TW_LETTERS.index(letter) + 10
    total = value // 10 + 9 * (value % 10)
    total += sum((8 - n) * int(c) for n, c in enumerate(digits))
    return DIGITS[-total % 10]
