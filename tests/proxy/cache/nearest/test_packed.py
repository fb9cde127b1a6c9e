from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from proxy.cache.nearest.lexical import terms_of
from proxy.cache.nearest.packed import Packed, pack, quantised, unpack

DIMS = 64
SCOPE, ID, OURS, THEIRS = b"s" * 32, b"i" * 32, b"o" * 8, b"t" * 8


def vector(seed: int = 1) -> NDArray[np.float32]:
    numbers = np.random.default_rng(seed).standard_normal(DIMS, dtype=np.float32)
    numbers /= np.linalg.norm(numbers)
    return numbers


def packed(text: str = "How are cats?", *, has_vector: bool = True, expires_at: float = 10.0) -> bytes:
    return pack(THEIRS, "use", SCOPE, text, vector() if has_vector else None, expires_at)


def unpacked(
    *rows: bytes, embedder: str = "use", dims: int = DIMS, now: float = 0.0, origin: bytes = OURS
) -> list[Packed]:
    return unpack([(ID, row) for row in rows], "search", origin, embedder, dims, now)


@pytest.mark.parametrize("text", ["How are cats?", "猫怎么样？", "\ud800 lone", "x" * 2000])
def test_what_is_packed_comes_out_again(text: str) -> None:
    [found] = unpacked(packed(text))
    entry = found.entry
    assert (entry.id, entry.scope_key, entry.team, entry.text, entry.expires_at) == (ID, SCOPE, "search", text, 10.0)
    numbers = np.frombuffer(found.numbers, np.int8) * found.scale
    assert float(numbers @ vector()) > 0.999
    assert [*found.terms] == terms_of(text)


def test_one_without_a_vector_has_none() -> None:
    [found] = unpacked(packed(has_vector=False))
    assert found.numbers == b""


def test_of_several_with_one_id_the_last_counts() -> None:
    assert [one.entry.text for one in unpacked(packed("a"), packed("b"))] == ["b"]


def test_what_is_of_no_use_here_is_left_out() -> None:
    row = packed()
    assert unpacked(row, embedder="other") == []
    assert unpacked(row, dims=DIMS * 2) == []
    assert unpacked(row, now=10.0) == []
    assert unpacked(row, origin=THEIRS) == []
    assert unpacked(b"\x02" + row[1:]) == []
    assert unpacked(packed(expires_at=float("nan"))) == []


def test_what_is_damaged_is_left_out() -> None:
    row = packed()
    for end in range(len(row) - len("How are cats?")):
        assert unpacked(row[:end]) == []
    assert unpacked(b"", row[:-1] + b"\xff") == []


def test_a_vector_of_zeros_is_one() -> None:
    numbers, scale = quantised(np.zeros(DIMS, np.float32))
    assert not numbers.any()
    assert scale == 1.0
