"""Entries of an index as bytes, for where other replicas find them: the text, its words as numbers, and its vector as
bytes with a scale, as the matrix keeps it. So nobody takes it apart or embeds it again.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct, error
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxy.cache.nearest.base import Vector
from proxy.cache.nearest.lexical import terms_of
from proxy.cache.nearest.scope import Entry

#: A change of what follows must change it, and so must one of `terms_of`.
_VERSION: Final = 1
_LARGEST_BYTE: Final = 127
_DIGEST_BYTES: Final = 8
#: Version, who wrote it, by whose vectors (a digest), scope, when it expires, scale, how many numbers, how many words.
_HEAD: Final = Struct("<B8s8s32sdfHH")
_WORD_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Packed:
    """One entry that came from elsewhere."""

    entry: Entry
    numbers: bytes  #: of its vector, one signed byte each; empty: it has none yet
    scale: float  #: what the numbers are to be multiplied with
    terms: Sequence[int]  #: see `lexical.terms_of`


def digest_of(embedder: str) -> bytes:
    """Stands for the embedder: vectors of others can't be compared."""
    return blake2b(embedder.encode(), digest_size=_DIGEST_BYTES).digest()


def quantised(vector: Vector) -> tuple[NDArray[np.int8], float]:
    """A vector as bytes, and their scale."""
    scale = float(np.abs(vector).max()) / _LARGEST_BYTE or 1.0
    numbers: NDArray[np.int8] = np.rint(vector / scale).astype(np.int8)
    return numbers, scale


def pack(origin: bytes, embedder: str, scope_key: bytes, text: str, vector: Vector | None, expires_at: float) -> bytes:
    """One entry. `origin`: 8 bytes, as no other process is called. Cost: 20 µs."""
    numbers, scale = (b"", 0.0) if vector is None else _bytes_of(vector)
    terms = array("I", terms_of(text))
    counts = len(numbers), len(terms)
    head = _HEAD.pack(_VERSION, origin, digest_of(embedder), scope_key, expires_at, scale, *counts)
    return b"".join((head, numbers, terms.tobytes(), text.encode("utf-8", "surrogatepass")))


def unpack(
    rows: Iterable[tuple[bytes, bytes]], team: str, origin: bytes, embedder: str, dims: int, now: float
) -> list[Packed]:
    """What is in force of these, given by id and data: each id once, the latest. Left out is what `origin` wrote
    itself, what is of another version or by another embedder, and what is damaged. `now`: Unix time in seconds.
    """
    digest, found = digest_of(embedder), {}
    for id, data in rows:
        try:
            version, writer, by, scope_key, expires_at, scale, count, words = _HEAD.unpack_from(data)
            begin = _HEAD.size + count
            end = begin + words * _WORD_BYTES
            if end > len(data):
                continue
            terms = array("I", data[begin:end])
            text = data[end:].decode("utf-8", "surrogatepass")
        except (error, ValueError):
            continue
        if version != _VERSION or writer == origin or by != digest or count not in (0, dims) or not expires_at > now:
            continue
        entry = Entry(id, scope_key, team, text, expires_at)
        found[id] = Packed(entry, data[_HEAD.size : begin], scale, terms)
    return [*found.values()]


def _bytes_of(vector: Vector) -> tuple[bytes, float]:
    numbers, scale = quantised(vector)
    return numbers.tobytes(), scale
