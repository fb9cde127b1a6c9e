"""Reads the packed rank files in `ranks/`: the vocabulary of an encoding, in the order in which its pairs merge.

A packed file holds each token after a byte with its length, by rank from 0, under xz: 389 KB instead of the 1.7 MB of
base64 that OpenAI publishes. `scripts/pack_ranks.py` makes them, `ranks/README.md` says where they come from.
"""

from __future__ import annotations

import lzma
from hashlib import sha256
from pathlib import Path
from typing import Final

RANKS: Final = Path(__file__).parent / "ranks"


class BadRankFile(Exception):
    """A rank file is missing or damaged. The text says which, and what to do."""


def read_ranks(path: Path, digest: str) -> dict[bytes, int]:
    """Every token's rank. `digest`: the file's SHA-256 in hex. Raises BadRankFile. 40 to 100 ms: not for the loop."""
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise BadRankFile(f"{path} cannot be read ({error.strerror}); install this package again.") from None
    found = sha256(packed).hexdigest()
    if found != digest:
        raise BadRankFile(
            f"{path} is damaged: its SHA-256 is {found[:12]}…, not {digest[:12]}…; install this package again."
        )
    return unpack(lzma.decompress(packed))


def unpack(data: bytes) -> dict[bytes, int]:
    """The ranks in a packed file's content."""
    ranks: dict[bytes, int] = {}
    at = 0
    while at < len(data):
        end = at + 1 + data[at]
        ranks[data[at + 1 : end]] = len(ranks)
        at = end
    return ranks
