"""Answers as bytes, for where they are kept outside this process. Data, never a pickle: what has changed on its way,
stands under another key, or was written by another version is no answer.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

import orjson

from proxy.cache.admission import unfit
from proxy.cache.store import Stored

#: A change of what follows must change it.
_VERSION: Final = b"W1"
_DIGEST_BYTES: Final = 16
#: The books have no room for sums of more.
_MAX_NUSD: Final = 2**53
_HEAD_BYTES: Final = len(_VERSION) + _DIGEST_BYTES


def encode(key: bytes, stored: Stored) -> bytes:
    """The version, a digest, what is known of the answer as a line of JSON, and the answer. Cost: 5 µs."""
    facts = (
        stored.team,
        stored.model,
        stored.scope.hex(),
        stored.call_id,
        stored.request_id,
        stored.answer_id,
        stored.stored_at,
        stored.cost_nusd,
        stored.streamed_s,
    )
    rest = orjson.dumps(facts) + b"\n" + stored.body
    return b"".join((_VERSION, _digest(key, rest), rest))


def decode(key: bytes, data: bytes, is_sound: Callable[[bytes], bool] | None = None) -> Stored | None:
    """The answer that `encode` wrote under this key; None if it is damaged, of another version, or not one that this
    version would store. `is_sound`: is such a body one? By default, if it is a completion worth keeping. Cost: 15 µs.
    """
    version, digest, rest = data[: len(_VERSION)], data[len(_VERSION) : _HEAD_BYTES], data[_HEAD_BYTES:]
    if version != _VERSION or digest != _digest(key, rest):
        return None
    line, _, body = rest.partition(b"\n")
    try:
        team, model, scope, call_id, request_id, answer_id, stored_at, cost_nusd, streamed_s = orjson.loads(line)
        stored = Stored(
            body, team, model, bytes.fromhex(scope), call_id, request_id, answer_id, stored_at, cost_nusd, streamed_s
        )
    except (TypeError, ValueError):
        return None
    return stored if _is_stated(stored) and (is_sound or _is_fit)(body) else None


def _is_fit(body: bytes) -> bool:
    try:
        document = orjson.loads(body)
    except ValueError:
        return False
    return isinstance(document, dict) and unfit(document, len(body)) is None


def _is_stated(stored: Stored) -> bool:
    """Whoever can write there can make a digest, too: what is taken for a number or a text must be one."""
    texts = stored.team, stored.model, stored.call_id, stored.request_id, stored.answer_id
    return (
        all(isinstance(one, str) for one in texts)
        and all(type(one) in (int, float) and one >= 0 for one in (stored.stored_at, stored.streamed_s))
        and type(stored.cost_nusd) is int
        and 0 <= stored.cost_nusd <= _MAX_NUSD
    )


def _digest(key: bytes, rest: bytes) -> bytes:
    return blake2b(rest, digest_size=_DIGEST_BYTES, key=key[:64]).digest()
