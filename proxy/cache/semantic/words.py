"""How rare a word is: a table of some 10,000 English and Chinese words, read once.

A word is as rare as its place among the pieces of a published tokenizer says, which are in the order of frequency
(o200k_base, MIT: proxy/accounting/ranks/README.md).
`words.txt` is made by `python -m benchmarks.semantic.words`, which says where it comes from. (Vectors of words, to see
whether what is left over on both sides means the same, were tried: they changed nothing.)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).with_name("words.txt")
#: Of a word that the table does not know: a name, a term of art, a slip.
RAREST: Final = 10.0
#: Lines of the table for one step of rarity.
STEPS: Final = 10
#: Chinese words have at most so many characters here.
MAX_CHINESE_CHARS: Final = 4


@dataclass(frozen=True, slots=True)
class Words:
    """The table. English words are stems; see `stem`."""

    rarities: dict[str, float]

    @classmethod
    def load(cls) -> Words:
        """The table that comes with the package. Cost: 3 ms, 1 MB."""
        lines = _FILE.read_text(encoding="utf-8").splitlines()
        return cls({word: place / STEPS for place, line in enumerate(lines) for word in line.split()})

    def rarity(self, word: str) -> float:
        """0 for the commonest words to 10 for those that the table does not know."""
        return self.rarities.get(word, RAREST)

    def split_chinese(self, run: str) -> list[str]:
        """The words of a run of Chinese characters: the longest known one first, from the left."""
        found, at = [], 0
        while at < len(run):
            size = min(MAX_CHINESE_CHARS, len(run) - at)
            while size > 1 and run[at : at + size] not in self.rarities:
                size -= 1
            found.append(run[at : at + size])
            at += size
        return found


def stem(word: str) -> str:
    """An English word without its ending: plural, -ing, -ed. Rough, but the same for both sides."""
    size = len(word)
    if size <= 3 or not word.isascii():
        return word
    if word.endswith("'s"):
        return stem(word[:-2])
    for ending, rest in _ENDINGS:
        if word.endswith(ending) and size - len(ending) >= 3:
            base = word[: size - len(ending)] + rest
            if (
                not rest
                and ending in ("ing", "ed")
                and len(base) > 3
                and base[-1] == base[-2]
                and base[-1] not in "lsz"
            ):
                return base[:-1]  # stopped, running
            return _bare(base) if len(base) > 3 else base
    return _bare(word) if size > 4 else word


def _bare(word: str) -> str:
    """Without its last e; `eeeee` has nothing else, and stays."""
    return word.rstrip("e") or word


_ENDINGS: Final = (
    ("ies", "y"),
    ("ied", "y"),
    ("sses", "ss"),
    ("ss", "ss"),
    ("us", "us"),
    ("is", "is"),
    ("xes", "x"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("s", ""),
    ("ing", ""),
    ("ed", ""),
)
