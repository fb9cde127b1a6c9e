"""How records lie in a journal: each in a frame with its length and checksum, so that a torn one is told from a whole
one and reading goes on at the next. No I/O.

A frame is a mark, the payload's length, a CRC-32 of length and payload (both little-endian), and the payload. The mark
begins with a byte that no UTF-8 text has, so it is never found inside a payload, and it carries the format's version.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple
from zlib import crc32

_MARK: Final = b"\xf5WJ1"
_HEAD: Final = struct.Struct("<4sII")
_LENGTH: Final = struct.Struct("<I")
#: A longer payload is none: a call with every attempt it may have takes a hundredth of this.
MAX_PAYLOAD_BYTES: Final = 1 << 20


class Frames(NamedTuple):
    """What was found."""

    payloads: list[bytes]
    end: int  #: offset behind the last whole frame
    damaged_bytes: int  #: skipped before it; what lies behind `end` is not counted


def frame(payload: bytes) -> bytes:
    """A payload in its frame."""
    length = len(payload)
    return _HEAD.pack(_MARK, length, crc32(payload, crc32(_LENGTH.pack(length)))) + payload


def read_frames(data: bytes, offset: int = 0) -> Frames:
    """Every whole frame from `offset` on; what is no frame is skipped if a whole one follows."""
    payloads: list[bytes] = []
    damaged_bytes = 0
    while True:
        found = _payload(data, offset)
        if found is None:
            after = _next(data, offset + 1)
            if after is None:
                return Frames(payloads, offset, damaged_bytes)
            damaged_bytes += after - offset
            offset = after
        else:
            payloads.append(found)
            offset += _HEAD.size + len(found)


def _payload(data: bytes, offset: int) -> bytes | None:
    if len(data) - offset < _HEAD.size:
        return None
    mark, length, checksum = _HEAD.unpack_from(data, offset)
    begin = offset + _HEAD.size
    if mark != _MARK or length > MAX_PAYLOAD_BYTES or begin + length > len(data):
        return None
    payload = data[begin : begin + length]
    return payload if crc32(payload, crc32(_LENGTH.pack(length))) == checksum else None


def _next(data: bytes, offset: int) -> int | None:
    """Where the next whole frame begins."""
    while (offset := data.find(_MARK, offset)) >= 0:
        if _payload(data, offset) is not None:
            return offset
        offset += 1
    return None
