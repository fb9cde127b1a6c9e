from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from proxy.cache.nearest.matrix import Matrix, Sketcher
from proxy.cache.nearest.packed import quantised

Vectors = NDArray[np.float32]


def unit(rows: int, dims: int = 512, seed: int = 1) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((rows, dims), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def near(vector: Vectors, cosine: float, rows: int, seed: int = 2) -> Vectors:
    """Vectors of about this cosine to that one."""
    noise = unit(rows, len(vector), seed)
    mixed: Vectors = cosine * vector + np.float32(np.sqrt(1 - cosine**2)) * noise
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    return mixed


def matrix_of(vectors: Vectors) -> Matrix:
    matrix = Matrix(Sketcher(vectors.shape[1]))
    for vector in vectors:
        matrix.append(vector)
    return matrix


def exact(vectors: Vectors, vector: Vectors, count: int) -> list[int]:
    order: Sequence[int] = np.argsort(-(vectors @ vector), kind="stable")[:count].tolist()
    return [*order]


def test_an_empty_matrix_finds_nothing() -> None:
    assert len(Matrix(Sketcher(8)).nearest(unit(1, 8)[0], 8)) == 0


@pytest.mark.parametrize("dims", [3, 384, 512, 1536])
@pytest.mark.parametrize("rows", [1, 5, 256, 257, 1000])
def test_the_nearest_are_found_in_their_order(dims: int, rows: int) -> None:
    query = unit(1, dims, 9)[0]
    ladder = np.concatenate([near(query, cosine, 1, 50 + at) for at, cosine in enumerate((0.97, 0.9, 0.8, 0.7))])
    vectors = np.concatenate([unit(rows, dims), ladder]) if dims > 3 else unit(rows, dims)
    found = matrix_of(vectors).nearest(query, 3).tolist()
    if dims > 3:
        assert found == exact(vectors, query, 3)
    else:  # three numbers are a coarse sketch: the first is near, if not the nearest
        assert vectors[found[0]] @ query > 0.98 * (vectors @ query).max() or rows < 3


def test_the_nearest_are_found_among_several_blocks() -> None:
    query = unit(1, 512, 9)[0]
    vectors = unit(9000)
    for slot, neighbour in zip((0, 4095, 4096, 8191, 8192, 8999), near(query, 0.8, 6), strict=True):
        vectors[slot] = neighbour
    matrix = matrix_of(vectors)
    assert sorted(matrix.nearest(query, 6).tolist()) == [0, 4095, 4096, 8191, 8192, 8999]
    assert matrix.nearest(query, 6).tolist() == exact(vectors, query, 6)


def test_cosines_are_within_two_thousandths() -> None:
    vectors, query = unit(6000), unit(1, 512, 9)[0]
    vectors[:100] = near(query, 0.9, 100)
    slots = np.arange(6000)
    off = np.abs(matrix_of(vectors).cosines(query, slots) - vectors @ query)
    assert off.max() < 0.002


def test_vectors_that_are_all_the_same_are_compared_in_part_only() -> None:
    vectors = np.repeat(unit(1), 3000, axis=0)
    assert matrix_of(vectors).nearest(vectors[0], 8).tolist() == [*range(8)]


def test_a_vector_of_zeros_does_no_harm() -> None:
    matrix = matrix_of(np.zeros((1, 512), np.float32))
    assert matrix.cosines(unit(1)[0], np.array([0])).tolist() == [0.0]


def test_the_last_takes_the_place_of_one_that_is_removed() -> None:
    vectors = unit(4100)
    matrix = matrix_of(vectors)
    matrix.remove(7)
    assert len(matrix) == 4099
    assert matrix.nearest(vectors[4099], 1).tolist() == [7]
    assert matrix.cosines(vectors[7], matrix.nearest(vectors[7], 1))[0] < 0.9


def test_what_is_left_after_many_changes_is_what_is_found() -> None:
    rng = np.random.default_rng(5)
    vectors, matrix = unit(600), Matrix(Sketcher(512))
    kept: list[int] = []
    for number in range(600):
        matrix.append(vectors[number])
        kept.append(number)
        while len(kept) > 5 and rng.random() < 0.45:
            slot = int(rng.integers(len(kept)))
            matrix.remove(slot)
            last = kept.pop()
            if slot < len(kept):
                kept[slot] = last
    assert len(matrix) == len(kept)
    for slot, number in enumerate(kept):
        assert matrix.nearest(vectors[number], 1).tolist() == [slot]


def test_memory_grows_by_doubling_then_by_blocks_and_is_given_back() -> None:
    matrix, vectors = Matrix(Sketcher(512)), unit(1)
    sizes = []
    for _ in range(4097):
        matrix.append(vectors[0])
        sizes.append(matrix.used_bytes)
    assert sizes[0] < 1200
    assert all(size <= 2 * 580 * rows + 1024 for rows, size in enumerate(sizes[:4096], 1))
    assert sizes[4096] == 2 * sizes[4095]
    for _ in range(4097):
        matrix.remove(0)
    assert matrix.used_bytes == 0
    matrix.append(vectors[0])
    assert matrix.used_bytes == sizes[0]


def test_two_matrices_may_share_a_sketcher() -> None:
    sketcher, vectors = Sketcher(512), unit(2)
    first, second = Matrix(sketcher), Matrix(sketcher)
    first.append(vectors[0])
    second.append(vectors[1])
    assert first.cosines(vectors[0], np.array([0]))[0] > 0.99
    assert second.cosines(vectors[0], np.array([0]))[0] < 0.5


@pytest.mark.parametrize("dims", [512, 64])
@pytest.mark.parametrize("sizes", [(1,), (3, 1, 2), (5000,), (4000, 200, 5000), (1, 4095, 1)])
def test_many_at_once_are_as_good_as_one_by_one(dims: int, sizes: tuple[int, ...]) -> None:
    vectors = unit(sum(sizes), dims)
    sketcher = Sketcher(dims)
    one_by_one, at_once, begin = matrix_of(vectors), Matrix(sketcher), 0
    for size in sizes:
        packed = [quantised(vector) for vector in vectors[begin : begin + size]]
        at_once.extend(
            sketcher.rows(b"".join(numbers.tobytes() for numbers, _ in packed), [scale for _, scale in packed])
        )
        begin += size
    assert len(at_once) == len(one_by_one)
    assert at_once.used_bytes == one_by_one.used_bytes
    for vector in vectors[:: max(1, len(vectors) // 7)]:
        assert at_once.nearest(vector, 1).tolist() == one_by_one.nearest(vector, 1).tolist()
        assert np.array_equal(at_once.cosines(vector, np.arange(1)), one_by_one.cosines(vector, np.arange(1)))
