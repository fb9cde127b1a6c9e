from __future__ import annotations

from proxy.cache import KeptVector, Stored, pack_vector
from proxy.chain.looked import Looked


def stored(size: int, stored_at: float = 5.0) -> Stored:
    body = pack_vector(KeptVector(bytes(size), "m", 3))
    return Stored(body, "search", "chat", b"s", "req_1", "mine", "", stored_at, 70)


def test_what_is_there_is_not_missing() -> None:
    looked = Looked([b"1", b"2", b"2"], stored_at=9.0)
    looked.take(b"1", stored(8))
    assert looked.missing(["one", "two", "two"]) == {b"2": "two"}
    assert (looked.stored_at, looked.saved_nusd, looked.differs) == (5.0, 70, False)


def test_vectors_of_two_sizes_are_of_two_models() -> None:
    looked = Looked([b"1", b"2"])
    looked.take(b"1", stored(8))
    looked.take(b"2", stored(12))
    assert looked.differs
    looked.clear(7.0)
    assert (looked.found, looked.stored_at, looked.saved_nusd) == ({}, 7.0, 0)
