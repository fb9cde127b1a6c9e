"""Labelled pairs of questions: those of others that come with the repository (see data/README.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.cache.semantic.facts import facts_of
from proxy.cache.semantic.words import Words

_DATA: Final = Path(__file__).with_name("data")
#: Pairs whose questions have this share of words in common are of one group.
_ALIKE: Final = 0.6


@dataclass(frozen=True, slots=True)
class Pair:
    """Two questions, and whether one answer serves both."""

    a: str
    b: str
    is_same: bool
    kind: str
    group: str  #: pairs of one group are learned from together or not at all


def english(words: Words) -> list[Pair]:
    """Half of fow-cache. The group: pairs that share a question, or have one that is nearly the same."""
    rows = [json.loads(line) for line in (_DATA / "cache_pairs_en.jsonl").read_text(encoding="utf-8").splitlines()]
    groups = grouped([(row["a"], row["b"]) for row in rows], words)
    return [
        Pair(row["a"], row["b"], row["label"] == 1, row["cat"], f"fow:{group}")
        for row, group in zip(rows, groups, strict=True)
    ]


def chinese() -> list[Pair]:
    """Part of PAWS-X; every pair is a group, sentences do not recur."""
    rows = [json.loads(line) for line in (_DATA / "paws_x_zh.jsonl").read_text(encoding="utf-8").splitlines()]
    groups = _by_text([(row["a"], row["b"]) for row in rows])
    return [
        Pair(row["a"], row["b"], row["label"] == 1, "paws-x", f"paws:{group}")
        for row, group in zip(rows, groups, strict=True)
    ]


def grouped(texts: Sequence[tuple[str, str]], words: Words) -> list[int]:
    """A number for each pair; equal where any of their texts have most words in common."""
    sets = [[frozenset(facts_of(text, words).content) for text in pair] for pair in texts]
    owner = _by_text(texts)
    for at, mine in enumerate(sets):
        for before in range(at):
            if any(_alike(a, b) for a in mine for b in sets[before]):
                _join(owner, at, before)
    return [_root(owner, at) for at in range(len(owner))]


def _by_text(texts: Sequence[tuple[str, str]]) -> list[int]:
    owner = list(range(len(texts)))
    seen: dict[str, int] = {}
    for at, pair in enumerate(texts):
        for text in pair:
            _join(owner, at, seen.setdefault(text, at))
    return [_root(owner, at) for at in range(len(owner))]


def _alike(a: frozenset[str], b: frozenset[str]) -> bool:
    return len(a & b) >= _ALIKE * max(1, len(a | b))


def _root(owner: list[int], at: int) -> int:
    while owner[at] != at:
        at = owner[at]
    return at


def _join(owner: list[int], one: int, other: int) -> None:
    owner[_root(owner, one)] = _root(owner, other)
