"""Makes `proxy/cache/semantic/words.txt`: `python -m benchmarks.semantic.words`.

Which words are common is taken from the order of the pieces in `proxy/accounting/ranks/o200k_base.xz` (MIT; see the
README there): a tokenizer's merges are in the order of frequency.
"""

from __future__ import annotations

import lzma
import math
import re
from pathlib import Path
from typing import Final

from proxy.accounting.rankfile import RANKS, unpack
from proxy.cache.semantic import lexicon_en as en
from proxy.cache.semantic import lexicon_zh as zh
from proxy.cache.semantic.words import MAX_CHINESE_CHARS, STEPS, stem

PATH: Final = Path("proxy/cache/semantic/words.txt")
ENGLISH: Final = 6500
CHINESE: Final = 3500


def common_words(pieces: list[bytes]) -> dict[str, float]:
    """Stems of English words, and Chinese words, -> how rare they are, 0 to 10. `pieces`: a tokenizer's, by rank."""
    english: dict[str, float] = {}
    chinese: dict[str, float] = {}
    for rank, piece in enumerate(pieces):
        try:
            text = piece.decode()
        except UnicodeDecodeError:
            continue
        word, rarity = text[1:], min(9.0, max(0.0, 1.2 * math.log(max(rank, 300) / 300)))
        is_english = text.startswith(" ") and len(word) > 1 and word.isascii() and word.isalpha() and word.islower()
        if is_english and len(english) < ENGLISH:
            english.setdefault(stem(word), rarity)
        is_chinese = len(text) <= 2 and all("\u4e00" <= sign <= "\u9fff" for sign in text)
        if is_chinese and len(chinese) < CHINESE:
            chinese.setdefault(text, rarity / 1.5)
    return english | chinese


def main() -> None:
    """Write the table."""
    ranks = unpack(lzma.decompress((RANKS / "o200k_base.xz").read_bytes()))
    found = common_words(sorted(ranks, key=ranks.__getitem__))
    tables = (en.SYNONYMS, en.ANTONYMS, " ".join(en.QUALIFIERS), zh.SYNONYMS, zh.ANTONYMS)
    lexicon = sorted({word for table in tables for word in re.split(r"[\s|;]+", table)})

    for word in lexicon:
        if word and (word.isascii() or len(word) <= MAX_CHINESE_CHARS):
            found.setdefault(stem(word), 7.0)
    lines: list[list[str]] = [[] for _ in range(round(STEPS * max(found.values())) + 1)]
    for word, rarity in sorted(found.items()):
        lines[round(STEPS * rarity)].append(word)
    PATH.write_text("".join(" ".join(line) + "\n" for line in lines), encoding="utf-8")
    print(f"{len(found)} words, {PATH.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
