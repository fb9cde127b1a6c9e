"""Gradient-boosted trees of a fixed depth, learned from a few thousand rows: enough for the verifier, with numpy alone.

Logistic loss, second-order leaves, histograms over quantiles, a random part of rows and columns for each tree (after
XGBoost, Chen and Guestrin 2016). The same seed gives the same trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from proxy.cache.semantic.verify import DEPTH, Trees

Floats = NDArray[np.float64]
_BINS: Final = 24
_NODES: Final = 2**DEPTH - 1


@dataclass(frozen=True, slots=True)
class Settings:
    """How much to learn."""

    trees: int = 150
    rate: float = 0.06
    rows: float = 0.6  #: share of rows for each tree
    columns: float = 0.5  #: share of features for each tree
    pull: float = 4.0  #: towards 0, for each leaf
    least: float = 3.0  #: weight (of second derivatives) that a leaf needs


def fit(rows: Floats, labels: Floats, weights: Floats, seed: int, settings: Settings | None = None) -> Trees:
    """`rows`: n × features; `labels`: n, 0 or 1; `weights`: n."""
    chosen = settings or Settings()
    rng = np.random.default_rng(seed)
    edges = [np.unique(np.quantile(column, np.linspace(0, 1, _BINS + 1)[1:-1])) for column in rows.T]
    codes = np.stack(
        [np.searchsorted(edge, column, side="left") for edge, column in zip(edges, rows.T, strict=True)], 1
    )
    start = float(np.log((weights @ labels) / (weights @ (1 - labels))))
    score = np.full(len(rows), start)
    features, limits, leaves = [], [], []
    for _ in range(chosen.trees):
        p = 1 / (1 + np.exp(-score))
        used = weights * (rng.random(len(rows)) < chosen.rows)
        allowed = np.asarray(rng.random(rows.shape[1]) < chosen.columns)
        grown = _grow(codes, edges, used * (labels - p), used * p * (1 - p), allowed, chosen)
        feature, limit, leaf, place = grown
        features.append(feature)
        limits.append(limit)
        leaves.append(leaf * chosen.rate)
        score += leaf[place] * chosen.rate
    return Trees(start, np.array(features), np.array(limits), np.array(leaves))


def _grow(
    codes: NDArray[Any],
    edges: list[Floats],
    slope: Floats,
    bend: Floats,
    allowed: NDArray[np.bool_],
    settings: Settings,
) -> tuple[NDArray[np.int64], Floats, Floats, NDArray[np.int64]]:
    """One tree: the feature and limit of each inner node, the value of each leaf, the leaf of each row."""
    count, width = codes.shape
    feature, limit = np.zeros(_NODES, np.int64), np.full(_NODES, np.inf)
    node = np.zeros(count, np.int64)
    columns = np.arange(width)
    for depth in range(DEPTH):
        size = 2**depth
        flat = ((node[:, None] * width + columns) * _BINS + codes).ravel()
        shape = (size, width, _BINS)
        slopes = np.bincount(flat, np.repeat(slope, width), size * width * _BINS).reshape(shape).cumsum(2)
        bends = np.bincount(flat, np.repeat(bend, width), size * width * _BINS).reshape(shape).cumsum(2)
        all_slope, all_bend = slopes[:, :, -1:], bends[:, :, -1:]
        rest_slope, rest_bend = all_slope - slopes, all_bend - bends
        gain = slopes**2 / (bends + settings.pull) + rest_slope**2 / (rest_bend + settings.pull)
        gain -= all_slope**2 / (all_bend + settings.pull)
        gain[(bends < settings.least) | (rest_bend < settings.least)] = 0
        gain[:, ~allowed] = 0
        best = gain.reshape(size, -1).argmax(1)
        cut = np.full(size, _BINS)
        for at in range(size):
            column, place = divmod(int(best[at]), _BINS)
            if gain[at, column, place] > 1e-9 and place < len(edges[column]):
                inner = size - 1 + at
                feature[inner], limit[inner], cut[at] = column, edges[column][place], place
        chosen = feature[size - 1 + node]
        node = 2 * node + (codes[np.arange(count), chosen] > cut[node])
    leaf_slope = np.bincount(node, slope, 2**DEPTH)
    leaf_bend = np.bincount(node, bend, 2**DEPTH)
    return feature, limit, leaf_slope / (leaf_bend + settings.pull), node
