"""The probability that two questions have the same answer: boosted trees over `features`, learned offline.

`verifier.json` is made by `python -m benchmarks.semantic.train`. Here it is only read and evaluated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from proxy.cache.semantic.calibrate import NEVER
from proxy.cache.semantic.facts import Facts, facts_of
from proxy.cache.semantic.features import NAMES, features
from proxy.cache.semantic.guards import Veto, compare, vetoes
from proxy.cache.semantic.words import Words

DEPTH: Final = 3
_FILE: Final = Path(__file__).with_name("verifier.json")
_FIRST_LEAF: Final = 2**DEPTH - 1


@dataclass(frozen=True, slots=True)
class Trees:
    """A sum of complete binary trees. A value above a node's limit goes right."""

    start: float
    features: NDArray[np.int64]  #: trees × inner nodes, level by level
    limits: NDArray[np.float64]  #: the same
    leaves: NDArray[np.float64]  #: trees × leaves

    def score(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log odds of each row. Cost: 40 µs for one row, 100 µs for eight."""
        trees = np.arange(len(self.leaves))
        node = np.zeros((len(rows), len(trees)), np.int64)
        for _ in range(DEPTH):
            values = np.take_along_axis(rows, self.features[trees, node], axis=1)
            node = 2 * node + 1 + (values > self.limits[trees, node])
        total: NDArray[np.float64] = self.leaves[trees, node - _FIRST_LEAF].sum(axis=1)
        return self.start + total


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is thought of one candidate."""

    probability: float  #: that its answer is right for the question; 0 if a guard objects
    vetoes: tuple[Veto, ...]  #: the guards that object


@dataclass(frozen=True, slots=True)
class Verifier:
    """The shipped judge. Immutable, for any thread; made once, by `load`."""

    words: Words
    trees: Trees
    slope: float  #: from the trees' log odds to calibrated ones
    offset: float
    thresholds: tuple[tuple[float, float], ...]  #: (max_error, least probability), the smallest error first

    @classmethod
    def load(cls) -> Verifier:
        """What comes with the package. Cost: 10 ms, 2 MB."""
        data = orjson.loads(_FILE.read_bytes())
        if tuple(data["features"]) != NAMES:
            raise ValueError(f"{_FILE.name} was trained on other features; run python -m benchmarks.semantic.train.")
        trees = data["trees"]
        return cls(
            Words.load(),
            Trees(
                trees["start"],
                np.array(trees["features"], np.int64),
                np.array([[np.inf if limit is None else limit for limit in tree] for tree in trees["limits"]]),
                np.array(trees["leaves"]),
            ),
            data["slope"],
            data["offset"],
            tuple((row[0], row[1]) for row in data["thresholds"]),
        )

    def facts(self, text: str) -> Facts:
        """What is to be known of a text, once. Cost: 0.1 to 0.2 ms for a question of 15 words."""
        return facts_of(text, self.words)

    def judge(self, asked: Facts, candidates: Sequence[tuple[Facts, float]]) -> list[Verdict]:
        """A verdict on each candidate (its facts, its cosine with what is asked). Cost: 60 to 80 µs each."""
        differences = [compare(asked, facts) for facts, _ in candidates]
        objections = [vetoes(difference) for difference in differences]
        rows = [
            features(difference, cosine)
            for difference, (_, cosine), objection in zip(differences, candidates, objections, strict=True)
            if not objection
        ]
        if not rows:
            return [Verdict(0.0, objection) for objection in objections]
        scores = iter(self.probabilities(self.trees.score(np.array(rows, np.float64))).tolist())
        return [Verdict(0.0, objection) if objection else Verdict(next(scores), ()) for objection in objections]

    def probabilities(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated, from log odds."""
        result: NDArray[np.float64] = 1 / (1 + np.exp(-(self.slope * scores + self.offset)))
        return result

    def threshold(self, max_error: float) -> float:
        """The least probability at which held-out pairs were wrong in at most this share of hits; above 1 if there is
        none.
        """
        known = [least for error, least in self.thresholds if error <= max_error + 1e-12]
        return known[-1] if known else NEVER
