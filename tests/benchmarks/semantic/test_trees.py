import numpy as np

from benchmarks.semantic.trees import Settings, fit


def test_trees_learn_what_needs_two_features_together() -> None:
    rng = np.random.default_rng(0)
    rows = rng.random((600, 4))
    labels = ((rows[:, 0] > 0.5) != (rows[:, 1] > 0.5)).astype(float)
    trees = fit(rows, labels, np.ones(600), 0, Settings(trees=60, rate=0.2, columns=1.0))
    fresh = rng.random((400, 4))
    expected = (fresh[:, 0] > 0.5) != (fresh[:, 1] > 0.5)
    assert np.mean((trees.score(fresh) > 0) == expected) > 0.95


def test_the_same_seed_gives_the_same_trees() -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.random((100, 3)), (np.arange(100) % 2).astype(float)
    one, other = (fit(rows, labels, np.ones(100), 3, Settings(trees=5)) for _ in range(2))
    assert np.array_equal(one.leaves, other.leaves)


def test_what_weighs_more_decides() -> None:
    rows, labels = np.zeros((2, 1)), np.array([0.0, 1.0])
    trees = fit(rows, labels, np.array([1.0, 9.0]), 0, Settings(trees=1))
    assert trees.start > 2
