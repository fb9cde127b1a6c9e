from collections.abc import Callable
from random import Random
from typing import Any

import orjson
import pytest

from proxy.cache.semantic.calibrate import CONFIDENCE, LADDER, NEVER, Calibrator

RUNS = 20
CALLS = 4000


def honest(probability: float) -> float:
    return probability


def overconfident(probability: float) -> float:
    return max(0.0, probability - 0.25)


def hopeless(probability: float) -> float:
    return 0.5


def play(max_error: float, truth: Callable[[float], float], seed: int, calls: int = CALLS) -> tuple[int, int]:
    """Hits, and wrong ones among them."""
    rng = Random(seed)
    calibrator = Calibrator(max_error, 1 - max_error)
    hits = wrong = 0
    for _ in range(calls):
        probability = rng.random() ** 0.2
        is_same = rng.random() < truth(probability)
        if calibrator.serves(probability):
            hits, wrong = hits + 1, wrong + (not is_same)
            if not calibrator.audits(rng.random()):
                continue
        calibrator.judged(probability, is_same)
    return hits, wrong


@pytest.mark.parametrize("max_error", [0.05, 0.1])
@pytest.mark.parametrize("truth", [honest, overconfident, hopeless])
def test_the_promise_is_kept_whatever_the_verifier_is_worth(max_error: float, truth: Callable[[float], float]) -> None:
    """In at least CONFIDENCE of runs; here, with seeds that are given, in all of them but at most one."""
    runs = [play(max_error, truth, seed) for seed in range(RUNS)]
    assert sum(wrong > max_error * hits for hits, wrong in runs) <= (1 - CONFIDENCE) * RUNS


def test_an_honest_verifier_is_used_and_a_hopeless_one_is_not() -> None:
    assert all(play(0.1, honest, seed)[0] > CALLS / 10 for seed in range(3))
    assert all(play(0.1, hopeless, seed)[0] == 0 for seed in range(3))


def test_nothing_is_served_before_there_is_evidence() -> None:
    calibrator = Calibrator(0.1, 0.8)
    assert calibrator.threshold == NEVER
    assert not calibrator.serves(1.0)
    needed = 0
    while not calibrator.serves(0.9):
        calibrator.judged(0.9, True)
        needed += 1
    assert 35 <= needed <= 60
    assert calibrator.bound <= 0.1


def test_without_a_threshold_to_start_with_the_ladder_is_still_tried() -> None:
    calibrator = Calibrator(0.2, NEVER)
    for _ in range(100):
        calibrator.judged(0.999, True)
    assert calibrator.serves(0.999)


def test_it_tightens_when_the_lower_part_turns_out_bad() -> None:
    calibrator = Calibrator(0.1, 0.7)
    for _ in range(60):
        calibrator.judged(0.72, True)
    assert calibrator.threshold <= 0.72
    for _ in range(200):
        calibrator.judged(0.99, True)
    for _ in range(60):
        calibrator.judged(0.65, False)
    assert calibrator.threshold > 0.65


def test_a_change_for_the_worse_is_noticed_and_evidence_brings_it_back() -> None:
    calibrator = Calibrator(0.1, 0.8)
    for _ in range(300):
        calibrator.judged(0.9, True)
    assert calibrator.serves(0.9)
    wrong = 0
    while calibrator.serves(0.9):
        calibrator.judged(0.9, wrong % 2 == 1)
        wrong += 1
    assert wrong < 20
    assert calibrator.judged_count == 0
    for _ in range(60):
        calibrator.judged(0.9, True)
    assert calibrator.serves(0.9)


def test_hits_are_audited_less_and_less_but_always_some() -> None:
    calibrator = Calibrator(0.1, 0.8)
    assert calibrator.audits(0.99)
    for _ in range(5000):
        calibrator.judged(0.9, True)
    assert calibrator.audits(0.029)
    assert not calibrator.audits(0.031)


def test_misses_count_for_less_beside_audited_hits() -> None:
    calibrator = Calibrator(0.1, 0.8)
    for _ in range(100):
        calibrator.judged(0.9, True)
    before = calibrator.judged_count
    calibrator.judged(0.55, True)
    assert calibrator.threshold > 0.55 or calibrator.judged_count == before + 1
    calibrator.judged(LADDER[0] - 0.1, False)
    assert calibrator.judged_count <= before + 1


def test_a_snapshot_brings_everything_back() -> None:
    calibrator = Calibrator(0.1, 0.8)
    for at in range(100):
        calibrator.judged(0.9, at % 30 != 0)
    data = orjson.loads(orjson.dumps(calibrator.snapshot()))
    other = Calibrator(0.1, 0.8)
    assert other.restore(data)
    assert (other.threshold, other.bound, other.snapshot()) == (calibrator.threshold, calibrator.bound, data)


@pytest.mark.parametrize(
    "damage",
    [
        {"schema": 0},
        {"max_error": 0.2},
        {"ladder": [0.5]},
        {"wrong": None},
        {"wrong": [1.0]},
        {"count": ["a"] * 13},
        {"wrong": [1.0] * 13, "count": [0.0] * 13},
        {"drift": float("nan")},
        {"drift": None},
    ],
)
def test_a_damaged_snapshot_changes_nothing(damage: dict[str, Any]) -> None:
    calibrator = Calibrator(0.1, 0.75)
    good = calibrator.snapshot()
    assert len(calibrator.snapshot()["wrong"]) == 13  # type: ignore[arg-type]  # plain data
    assert not calibrator.restore(good | damage)
    assert calibrator.snapshot() == good


@pytest.mark.parametrize("max_error", [0.0, 1.0, -1.0])
def test_a_promise_is_a_share(max_error: float) -> None:
    with pytest.raises(ValueError, match="max_error"):
        Calibrator(max_error, 0.9)


def test_the_bound_falls_with_evidence_and_is_one_without() -> None:
    calibrator = Calibrator(0.1, 0.8)
    assert calibrator.bound == pytest.approx(1)
    bounds = []
    for _ in range(3):
        for _ in range(50):
            calibrator.judged(0.9, True)
        bounds.append(calibrator.bound)
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] < 0.1


def test_where_nothing_is_served_every_candidate_counts_alike() -> None:
    """Else the sure ones, which are right, would hide the others."""
    for seed in range(5):
        rng, calibrator, least = Random(seed), Calibrator(0.05, 0.9), NEVER
        for _ in range(6000):
            is_sure = rng.random() < 0.5
            calibrator.judged(0.999 if is_sure else 0.55, is_sure or rng.random() < 0.6, is_served=False)
            least = min(least, calibrator.threshold)
        assert 0.55 < least <= 1


def test_complaints_of_fewer_hits_than_may_be_wrong_do_not_end_the_serving() -> None:
    """Of hits that are right nobody tells but the audits."""
    for seed in range(5):
        rng, calibrator = Random(seed), Calibrator(0.05, 0.9)
        for _ in range(400):
            calibrator.judged(0.999, True)
        for hit in range(4000):
            is_wrong = hit % 50 == 0  # 2 %
            if calibrator.audits(rng.random()):
                calibrator.judged(0.999, not is_wrong)
            elif is_wrong:
                calibrator.complained(0.999)
        assert calibrator.serves(0.999)


def test_complaints_of_more_do() -> None:
    calibrator = Calibrator(0.05, 0.9)
    for _ in range(400):
        calibrator.judged(0.999, True)
    for _ in range(200):
        calibrator.complained(0.999)
        if not calibrator.serves(0.999):
            break
    assert not calibrator.serves(0.999)
