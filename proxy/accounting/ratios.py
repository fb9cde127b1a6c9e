"""Token counts by ratio: so many tokens for each letter, digit and Chinese character, for models whose tokenizer is not
here and until one that is has been loaded.

A character's class is read off the first byte of its UTF-8 form, so that a count is a few passes in C: 6 ms for a
million Latin characters, 16 ms for as many Chinese ones. The ratios were fitted by `benchmarks/token_ratios.py`, which
also says how far they are off (docs/accounting.md has the table): for texts of 1,000 characters half of the estimates
are within 6 % for code and for Chinese, Japanese and Korean, 9 % for English, 20 % for other Latin script; 95 % are
within 21, 24, 29 and 43 %. They err to either side: where a bound is needed take `upper_bound_tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Final

from proxy.accounting.families import Family

#: What is told apart, and the bytes that begin such a character. Bytes 80 to BF only go on with one.
CLASSES: Final[Mapping[str, bytes]] = {
    "lower": bytes(range(ord("a"), ord("z") + 1)),
    "upper": bytes(range(ord("A"), ord("Z") + 1)),
    "digit": b"0123456789",
    "space": b" ",
    "break": b"\t\n\r",
    "punctuation": bytes(code for code in range(0x80) if not chr(code).isalnum() and chr(code) not in " \t\n\r"),
    "accented": bytes([*range(0xC3, 0xCA), 0xE1]),  #: Latin beyond ASCII; E1 holds Vietnamese
    "greek": bytes([0xCD, 0xCE, 0xCF]),
    "cyrillic": bytes(range(0xD0, 0xD5)),
    "semitic": bytes(range(0xD5, 0xE0)),  #: Hebrew, Arabic, Persian
    "indic": b"\xe0",  #: Devanagari to Thai
    "kana": b"\xe3",  #: Japanese syllables, and the full stop of Chinese
    "han": bytes(range(0xE4, 0xEA)),
    "hangul": bytes(range(0xEA, 0xEE)),
    "symbol": bytes([0xC2, 0xCA, 0xCB, 0xCC, 0xE2, 0xEE, 0xEF]),  #: signs, accents that combine, full-width forms
    "emoji": bytes(range(0xF0, 0xF8)),
}
#: Two spaces in a row: tokenizers take an indent as a whole, so this one's ratio is negative.
_INDENT: Final = b"  "
#: So many characters are profiled at once, in 2 to 5 ms; between two slices other threads have their turn.
_SLICE_CHARS: Final = 250_000
_MARKS: Final = bytes(range(1, len(CLASSES) + 1))


def _mark_table() -> bytes:
    table = bytearray(256)
    for mark, members in zip(_MARKS, CLASSES.values(), strict=True):
        for member in members:
            table[member] = mark
    return bytes(table)


_TABLE: Final = _mark_table()

#: family -> tokens for one character of each class, in the order of CLASSES, and for each pair of spaces.
RATIOS: Final[Mapping[Family, tuple[float, ...]]] = {
    "o200k_base": (0.18, 0.45, 0.61, 0.28, 0.61, 0.52, 1.14, 0.36, 0.25, 0.33, 0.34, 0.78, 0.85, 0.67, 1.27, 2, -0.33),
    "cl100k_base": (0.18, 0.42, 0.61, 0.36, 0.67, 0.46, 2.03, 0.99, 0.5, 0.85, 1.17, 0.87, 1.33, 1.12, 1.23, 2, -0.47),
    "claude": (0.23, 0.5, 0.6, 0.18, 0.75, 0.45, 2.42, 1.28, 0.6, 1.06, 1.67, 0.84, 1.26, 1.3, 0.93, 2, -0.17),
    "deepseek": (0.15, 0.39, 0.57, 0.45, 0.63, 0.6, 1.56, 0.46, 0.27, 0.36, 0.42, 0.62, 0.63, 0.69, 1.3, 2, -0.67),
    "gemini": (0.15, 0.46, 1.16, 0.42, 0.94, 0.57, 1.03, 0.37, 0.22, 0.32, 0.41, 0.42, 0.75, 0.71, 0.92, 2, -0.48),
    "llama": (0.19, 0.44, 0.61, 0.34, 0.67, 0.45, 1.22, 0.38, 0.27, 0.39, 0.6, 0.57, 0.87, 0.66, 1.13, 2, -0.44),
    "qwen": (0.21, 0.47, 1.24, 0.23, 0.65, 0.37, 1, 0.96, 0.36, 0.43, 0.81, 0.61, 0.75, 0.73, 0.1, 2, -0.2),
    "other": (0.19, 0.45, 0.78, 0.32, 0.72, 0.48, 1.59, 0.69, 0.36, 0.57, 0.84, 0.68, 0.93, 0.85, 0.94, 2, -0.39),
}


def profile(text: str) -> tuple[int, ...]:
    """How many characters of each class there are, and how many pairs of spaces. O(n), 6 µs for 1,000 letters."""
    data = text.encode("utf-8", "surrogatepass")
    marked = data.translate(_TABLE)
    return (*(marked.count(mark) for mark in _MARKS), data.count(_INDENT))


def estimate_tokens(text: str, family: Family) -> int:
    """About how many tokens the text is for that family: at least 0, and 1 if there is any text."""
    if not text:
        return 0
    weighed = 0.0
    for at in range(0, len(text), _SLICE_CHARS):
        counts = profile(text[at : at + _SLICE_CHARS])
        weighed += sum(count * ratio for count, ratio in zip(counts, RATIOS[family], strict=True))
    return max(1, ceil(weighed))


def upper_bound_tokens(size_bytes: int) -> int:
    """What a prompt of that many bytes (UTF-8, or the JSON it came in) cannot exceed, for text and byte-level BPE: each
    token stands for a byte at least. A request's JSON spends more bytes on each message than the model tokens. Images,
    audio and files are not bounded by it: a short URL may stand for a thousand tokens.
    """
    return size_bytes
