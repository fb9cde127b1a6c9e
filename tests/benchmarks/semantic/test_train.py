import math

import numpy as np
import orjson

from benchmarks.semantic.train import describe
from proxy.cache.semantic.features import NAMES
from proxy.cache.semantic.verify import Trees, Verifier


def test_what_is_written_can_be_read() -> None:
    trees = Trees(0.123456, np.zeros((2, 7), np.int64), np.full((2, 7), math.inf), np.arange(16.0).reshape(2, 8))
    data = orjson.loads(orjson.dumps(describe(trees, 1.0, 0.0, [(0.1, 0.7)])))
    assert data["features"] == list(NAMES)
    assert data["trees"]["limits"][0] == [None] * 7
    assert data["thresholds"] == [[0.1, 0.7]]


def test_the_shipped_thresholds_are_in_order() -> None:
    found = Verifier.load().thresholds
    assert [error for error, _ in found] == sorted({error for error, _ in found})
    assert [least for _, least in found] == sorted((least for _, least in found), reverse=True)
