import math

import numpy as np
import pytest

from benchmarks.semantic import study
from benchmarks.semantic.labelled import Pair
from benchmarks.semantic.study import Sample, folds, platt, threshold


def made(groups: list[str], labels: list[float]) -> Sample:
    pairs = tuple(Pair("a", "b", label == 1, "kind", group) for group, label in zip(groups, labels, strict=True))
    count = len(pairs)
    return Sample(pairs, np.zeros((count, 1)), np.array(labels), np.array(groups), np.zeros(count, bool))


def test_a_group_is_in_one_fold_and_every_source_in_all_of_them() -> None:
    groups = np.array([f"{source}:{at % 20}" for source in ("fow", "zh") for at in range(60)])
    found = folds(groups, 1)
    assert all(len(set(found[groups == group])) == 1 for group in set(groups))
    assert all(set(found[np.char.startswith(groups, source)]) == set(range(study.FOLDS)) for source in ("fow", "zh"))


def test_a_threshold_holds_for_other_draws_of_groups() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=2000)
    labels = (rng.random(2000) < 1 / (1 + np.exp(-3 * scores))).astype(float)
    sample = made([f"en:{at % 100}" for at in range(2000)], labels.tolist())
    strict, loose = (threshold(scores, sample, error) for error in (0.02, 0.1))
    assert strict > loose
    assert 1 - labels[scores >= loose].mean() < 0.1
    assert threshold(scores, made(["paws:1"] * 2000, labels.tolist()), 0.1) == math.inf


def test_probabilities_are_brought_into_line() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=5000)
    labels = (rng.random(5000) < 1 / (1 + np.exp(-truth))).astype(float)
    slope, offset = platt(2 * truth + 1, labels)
    assert (slope, offset) == pytest.approx((0.5, -0.5), abs=0.08)
    with_vetoed = np.append(2 * truth + 1, study.VETOED)
    assert platt(with_vetoed, np.append(labels, 1.0)) == pytest.approx((slope, offset))
