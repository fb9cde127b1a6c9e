"""Embedding vectors in their two forms on the wire, floats and base64, and in the one they are kept in: float32,
little-endian, 4 bytes a dimension.

Python has no float32 of its own: floats are written as the doubles that they are exactly, as short as reads back to the
same. So whoever asks for floats gets the very numbers that the SDKs decode from base64.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from binascii import a2b_base64
from math import isfinite
from typing import Final

BYTES_PER_DIMENSION: Final = 4


class BadVector(ValueError):
    """What came as a vector is none."""


def read_vector(item: object) -> bytes:
    """A vector as it came: base64, or numbers. Raises BadVector, also for one that is empty, infinite or no number.
    Cost: 6 µs for 1,536 dimensions in base64, 30 as numbers.
    """
    if not isinstance(item, str | list):
        raise BadVector("is neither base64 nor an array of numbers")
    try:
        vector = a2b_base64(item, strict_mode=True) if isinstance(item, str) else _pack(item)
    except (ValueError, struct.error, OverflowError):
        raise BadVector("is no vector of 32-bit floats") from None
    if not vector or len(vector) % BYTES_PER_DIMENSION:
        raise BadVector("is empty or cut")
    # Each number's highest byte: its sign and, but for the last bit, its exponent. All ones stand for no number.
    highest = vector[BYTES_PER_DIMENSION - 1 :: BYTES_PER_DIMENSION]
    if (b"\x7f" in highest or b"\xff" in highest) and not all(map(isfinite, floats_of(vector))):
        raise BadVector("is not finite")
    return vector


def _pack(numbers: list[object]) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def floats_of(vector: bytes) -> tuple[float, ...]:
    """Its numbers. Raises struct.error for what is no vector."""
    return struct.unpack(f"<{len(vector) // BYTES_PER_DIMENSION}f", vector)


def base64_of(vector: bytes) -> str:
    """It as the SDKs ask for it unless told otherwise."""
    return b64encode(vector).decode("ascii")
