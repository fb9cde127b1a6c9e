"""Simulated embeddings: a unit vector for each input, drawn from model and input alone. What means the same does not
lie close.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import shake_256
from math import sqrt
from struct import pack, unpack
from typing import Final

import orjson

from proxy.providers.simulated.request import BadRequestError, model_of, read_object
from proxy.providers.simulated.values import JsonObject, canonical

_DIMENSIONS: Final = 1536
_MAX_DIMENSIONS: Final = 4096
_MAX_INPUTS: Final = 2048
_BYTES_PER_TOKEN: Final = 4


def embed(content: bytes) -> tuple[bytes, int]:
    """The answer to the request in a body, as api.openai.com would write it, and its tokens. Raises BadRequestError."""
    body = read_object(content)
    model, inputs, dimensions = model_of(body), _inputs(body), _dimensions(body)
    vectors = [_vector(model, one, dimensions) for one in inputs]
    is_base64 = body.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": b64encode(pack(f"<{dimensions}f", *vector)).decode() if is_base64 else vector,
        }
        for index, vector in enumerate(vectors)
    ]
    tokens = sum(map(_tokens, inputs))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps({"object": "list", "data": data, "model": model, "usage": usage}), tokens


def _inputs(body: JsonObject) -> list[object]:
    given = body.get("input")
    if isinstance(given, str) or (isinstance(given, list) and given and all(type(one) is int for one in given)):
        given = [given]
    if not isinstance(given, list) or not 0 < len(given) <= _MAX_INPUTS or not all(map(_is_input, given)):
        raise BadRequestError("'$.input' is invalid. (Simulated.)", param="input")
    return given


def _is_input(one: object) -> bool:
    is_tokens = isinstance(one, list) and all(type(token) is int for token in one)
    return bool(one) and (isinstance(one, str) or is_tokens)


def _dimensions(body: JsonObject) -> int:
    given = body.get("dimensions")
    if given is None:
        return _DIMENSIONS
    if type(given) is not int or not 1 <= given <= _MAX_DIMENSIONS:
        raise BadRequestError(f"Invalid 'dimensions': expected 1 to {_MAX_DIMENSIONS}.", param="dimensions")
    return given


def _tokens(one: object) -> int:
    return len(one) if isinstance(one, list) else -(-len(str(one).encode()) // _BYTES_PER_TOKEN)


def _vector(model: str, one: object, dimensions: int) -> list[float]:
    drawn = shake_256(canonical([model, one])).digest(2 * dimensions)
    numbers = [2 * number + 1 for number in unpack(f"<{dimensions}h", drawn)]  # odd: never all zero
    length = sqrt(sum(number * number for number in numbers))
    return [number / length for number in numbers]
