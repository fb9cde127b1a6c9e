"""Judged pairs as a stream of calls: what a calibrator serves, and how much of that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from proxy.cache.semantic.calibrate import Calibrator


@dataclass(frozen=True, slots=True)
class Served:
    """What became of a stream."""

    wrong_share: float  #: of hits
    recall: float  #: hits with the right answer, of all candidates that had it
    first: int | None  #: the call that was the first hit


def replay(pairs: Sequence[tuple[float, bool]], max_error: float, start: float, calls: int, seed: int) -> Served:
    """Draws pairs (probability, is it the same?) at random; misses are all judged, hits as the calibrator asks."""
    rng = Random(seed)
    calibrator = Calibrator(max_error, start)
    hits = wrong = same = 0
    first = None
    for call in range(calls):
        probability, is_same = pairs[rng.randrange(len(pairs))]
        same += is_same
        if not calibrator.serves(probability):
            calibrator.judged(probability, is_same)
            continue
        first = call if first is None else first
        hits += 1
        wrong += not is_same
        if calibrator.audits(rng.random()):
            calibrator.judged(probability, is_same)
    return Served(wrong / hits if hits else 0.0, (hits - wrong) / same if same else 0.0, first)
