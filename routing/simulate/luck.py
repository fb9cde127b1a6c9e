"""The luck of attempts: every draw is a hash of who asks whom, so that all routers meet the same luck.

Not a random generator: nothing is drawn in a sequence, hence no decision of a router changes what another draw gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from statistics import NormalDist
from struct import Struct
from typing import Final

_WHO: Final = Struct("<qqqq")
_WORDS: Final = Struct("<6Q")
_UNIT: Final = 2.0**-53
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Luck:
    """All draws of one attempt, one for each purpose."""

    ttft: float  #: standard normal
    speed: float  #: standard normal
    fails: float  #: 0..1, as all below: whether a fault strikes
    cuts: float  #: whether and where a stream is cut
    delay: float  #: how long an error takes
    headers: float  #: what a faulty provider's headers say


def draw(seed: int, request: int, target: int, attempt: int) -> Luck:
    """The luck of the request's `attempt`-th attempt (from 0) at this target; all four fit into 63 bits."""
    digest = blake2b(_WHO.pack(seed, request, target, attempt), digest_size=_WORDS.size).digest()
    ttft, speed, fails, cuts, delay, headers = _WORDS.unpack(digest)
    return Luck(
        _NORMAL.inv_cdf(((ttft >> 11) + 0.5) * _UNIT),
        _NORMAL.inv_cdf(((speed >> 11) + 0.5) * _UNIT),
        (fails >> 11) * _UNIT,
        (cuts >> 11) * _UNIT,
        (delay >> 11) * _UNIT,
        (headers >> 11) * _UNIT,
    )
