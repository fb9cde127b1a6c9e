"""Does a text name a person by a number or an address? Such questions are not for others to find."""

from __future__ import annotations

import re
from typing import Final

_EMAIL: Final = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
#: Digits with single separators between them, as cards, telephones and accounts are written.
_DIGITS: Final = re.compile(r"(?<![\w.,])\+?\(?\d(?:[ \-()]{0,2}\d){6,18}(?![\w,]|\.\d)")
_IBAN: Final = re.compile(r"\b([A-Z]{2}\d{2})((?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?)\b")
_CN_RESIDENT: Final = re.compile(r"(?<!\d)\d{17}[\dXx](?!\d)")
_SSN: Final = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
_CN_MOBILE: Final = re.compile(r"(?<!\d)(?:\+?86[ -]?)?1[3-9]\d(?:[ -]?\d{4}){2}(?!\d)")
_PHONE_WORD: Final = re.compile(r"\b(?:phone|mobile|tel|call|number|cell|fax)\b|电话|手机|号码", re.IGNORECASE)
_CN_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CN_CHECKS: Final = "10X98765432"
_CARD_DIGITS: Final = range(13, 20)
_PHONE_DIGITS: Final = range(9, 16)


def names_a_person(text: str) -> bool:
    """Is there an e-mail address, a telephone number, a card (Luhn), an IBAN, a Chinese resident's number (both by
    their checksums) or an American social security number in it? Cost: 2 to 5 µs without any.
    """
    if "@" in text and _EMAIL.search(text):
        return True
    if sum(map(str.isdigit, text)) < _PHONE_DIGITS[0]:
        return False
    return bool(
        _SSN.search(text)
        or _CN_MOBILE.search(text)
        or any(is_iban(match[0]) for match in _IBAN.finditer(text))
        or any(is_resident(match[0]) for match in _CN_RESIDENT.finditer(text))
        or any(_is_card_or_phone(match[0], text) for match in _DIGITS.finditer(text))
    )


def passes_luhn(digits: str) -> bool:
    """The checksum of payment cards (ISO/IEC 7812)."""
    doubled = [2 * int(digit) if at % 2 else int(digit) for at, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def is_iban(text: str) -> bool:
    """The checksum of ISO 13616: the number that country and letters spell leaves 1 when divided by 97."""
    packed = text.replace(" ", "").upper()
    if not 15 <= len(packed) <= 34 or not packed.isalnum():
        return False
    return int("".join(str(int(sign, 36)) for sign in packed[4:] + packed[:4])) % 97 == 1


def is_resident(text: str) -> bool:
    """A Chinese resident's number: its last character is a checksum, and a date of birth is in it (GB 11643)."""
    month, day = int(text[10:12]), int(text[12:14])
    total = sum(int(digit) * weight for digit, weight in zip(text, _CN_WEIGHTS, strict=False))
    return 1 <= month <= 12 and 1 <= day <= 31 and _CN_CHECKS[total % 11] == text[17].upper()


def _is_card_or_phone(match: str, text: str) -> bool:
    digits = "".join(filter(str.isdigit, match))
    if len(digits) in _CARD_DIGITS and passes_luhn(digits) and len(set(digits)) > 1:
        return True
    if len(digits) not in _PHONE_DIGITS:
        return False
    is_written_as_phone = match.startswith("+") or any(sign in match for sign in " -()")
    return is_written_as_phone or bool(_PHONE_WORD.search(text))
