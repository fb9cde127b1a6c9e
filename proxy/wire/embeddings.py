"""Embeddings: requests, checked as OpenAI checks them, and answers, which come as the client asked for them whatever
the upstream gave: some ignore `encoding_format`, and openai-node takes floats for base64 without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from proxy.errors import InvalidRequest
from proxy.wire.chat import ChatRequest, check_model, check_positive, missing, parse_object, wrong_type
from proxy.wire.failure import ErrorAnswer, MalformedAnswer, find_error, parse_answer
from proxy.wire.usage import Usage, count_of
from proxy.wire.vectors import BadVector, base64_of, floats_of, read_vector

#: A text, or the tokens of one.
Input = str | list[int]

_MAX_INPUTS: Final = 2048
_BYTES_PER_TOKEN: Final = 4
_WRITTEN_AT_ONCE: Final = 32
_STRING: Final = frozenset({str})
_INTEGER: Final = frozenset({int})
_INPUT: Final = frozenset({str, list})
_FORMATS: Final = ("float", "base64")


@dataclass(slots=True)
class EmbeddingsRequest(ChatRequest):
    """A request for embeddings. To the chain it is one like any other: for one answer that is no stream, and in which
    there are no choices to make (`n` is 0).
    """

    inputs: Sequence[Input] = ()  #: one by one, even if the body holds a single one
    as_base64: bool = False  #: how the client wants its vectors

    def only(self, inputs: Sequence[Input]) -> EmbeddingsRequest:
        """The same for these inputs."""
        size_bytes = sum(map(size_of, inputs))
        return replace(self, body={**self.body, "input": list(inputs)}, inputs=inputs, size_bytes=size_bytes)


@dataclass(slots=True)
class Embeddings:
    """Vectors, in the order of the inputs."""

    vectors: Sequence[bytes]  #: see `vectors.py`
    model: str  #: as the upstream calls it
    usage: Usage | None  #: None if the upstream reported none
    body: bytes = b""  #: the upstream's own answer, if it is as it was asked for; else empty


def size_of(one: Input) -> int:
    """About how much an input is, in bytes: of its text, or of a usual one with so many tokens."""
    return len(one.encode()) if isinstance(one, str) else _BYTES_PER_TOKEN * len(one)


# -- requests --


def parse_embeddings_request(raw: bytes) -> EmbeddingsRequest:
    """The request in a body. Raises InvalidRequest, which names the parameter and never repeats a value."""
    body: dict[str, Any] = parse_object(raw)
    for name in ("model", "input"):
        if body.get(name) is None:
            raise missing(name)
    for name, types in (("model", _STRING), ("user", _STRING), ("encoding_format", _STRING), ("dimensions", _INTEGER)):
        if body.get(name) is not None and type(body[name]) not in types:
            raise wrong_type(name, body[name], types)
    check_model("model", body["model"])
    if body.get("dimensions") is not None:
        check_positive("dimensions", body["dimensions"])
    form = body.get("encoding_format") or "float"
    if form not in _FORMATS:
        raise InvalidRequest(
            "Invalid 'encoding_format': expected 'float' or 'base64'.", param="encoding_format", code="invalid_value"
        )
    return EmbeddingsRequest(
        body, body["model"], False, False, 0, len(raw), inputs=_read_inputs(body["input"]), as_base64=form == "base64"
    )


def _read_inputs(value: object) -> Sequence[Input]:
    if type(value) not in _INPUT:
        raise wrong_type("input", value, _INPUT)
    if isinstance(value, str):
        _check_text("input", value)
        return [value]
    assert isinstance(value, list)
    if not value:
        raise _empty("input", "array")
    if type(value[0]) is int:
        _check_tokens("input", value)
        return [value]
    if len(value) > _MAX_INPUTS:
        raise InvalidRequest(
            f"Invalid 'input': array too long. Expected an array with maximum length {_MAX_INPUTS}, but got an array "
            f"with length {len(value)} instead.",
            param="input",
            code="array_above_max_length",
        )
    kind = type(value[0])
    for index, one in enumerate(value):
        if type(one) is not kind or kind not in _INPUT:
            raise wrong_type(f"input[{index}]", one, _INPUT if kind not in _INPUT else frozenset({kind}))
        if kind is str:
            _check_text(f"input[{index}]", one)
        else:
            _check_tokens(f"input[{index}]", one)
    return value


def _check_text(name: str, text: str) -> None:
    if not text:
        raise _empty(name, "string")


def _check_tokens(name: str, tokens: list[object]) -> None:
    if not tokens:
        raise _empty(name, "array")
    if set(map(type, tokens)) != _INTEGER:  # of a long array a loop would take its time
        at = next(at for at, token in enumerate(tokens) if type(token) is not int)
        raise wrong_type(f"{name}[{at}]", tokens[at], _INTEGER)
    if min(tokens) < 0:  # type: ignore[operator, type-var]  # they are integers
        raise InvalidRequest(f"Invalid '{name}': a token is below 0.", param=name, code="integer_below_min_value")


def _empty(name: str, what: str) -> InvalidRequest:
    length = f"Expected {'an array' if what == 'array' else 'a string'} with minimum length 1"
    return InvalidRequest(f"Invalid '{name}': empty {what}. {length}.", param=name, code=f"empty_{what}")


# -- answers --


def read_embeddings(raw: bytes, inputs: int, *, as_base64: bool) -> Embeddings:
    """The vectors in the body of a 200 that is to hold so many. Raises ErrorAnswer if it holds an error,
    MalformedAnswer if it is no such answer.
    """
    document = parse_answer(raw)
    data = document.get("data")
    error = None if isinstance(data, list) and data else find_error(document)
    if error is not None:
        raise ErrorAnswer(error)
    if not isinstance(data, list) or len(data) != inputs:
        raise MalformedAnswer(f"the answer holds {len(data) if isinstance(data, list) else 'no'} vectors for {inputs}")
    items, is_in_order = _in_order(data)
    try:
        vectors = [read_vector(item) for item in items]
    except BadVector as reason:
        raise MalformedAnswer(f"a vector {reason}") from None
    if len({len(vector) for vector in vectors}) != 1:
        raise MalformedAnswer("the vectors differ in their dimensions")
    model, usage = document.get("model"), read_embeddings_usage(document.get("usage"))
    is_as_asked = is_in_order and usage is not None and all(isinstance(item, str) is as_base64 for item in items)
    return Embeddings(vectors, model if isinstance(model, str) else "", usage, raw if is_as_asked else b"")


def _in_order(data: list[object]) -> tuple[list[object], bool]:
    """What stands for the vectors, by `index`, and whether they stood so. Where the indexes make no sense: as they
    came.
    """
    found: list[tuple[object, object]] = []
    for entry in data:
        if not isinstance(entry, dict) or "embedding" not in entry:
            raise MalformedAnswer("an entry of the answer has no embedding")
        found.append((entry.get("index"), entry["embedding"]))
    indexes = [index for index, _ in found]
    if indexes == list(range(len(found))):
        return [item for _, item in found], True
    by_index = {index: item for index, item in found if type(index) is int}
    if by_index.keys() == set(range(len(found))):
        return [by_index[index] for index in range(len(found))], False
    return [item for _, item in found], False


def read_embeddings_usage(obj: object) -> Usage | None:
    """The count in a `usage` object; embeddings have no output, so it may name its input alone, or the total."""
    if not isinstance(obj, dict):
        return None
    for name in ("prompt_tokens", "input_tokens", "total_tokens"):
        count = count_of(obj.get(name))
        if count is not None:
            return Usage(count, 0)
    return None


def write_embeddings(vectors: Sequence[bytes], model: str, input_tokens: int, *, as_base64: bool) -> Iterator[bytes]:
    """An answer in OpenAI's shape, in parts of 32 vectors. 15 µs for 1,536 dimensions as base64, 150 as floats."""
    form = base64_of if as_base64 else floats_of
    yield b'{"object":"list","data":['
    for first in range(0, len(vectors), _WRITTEN_AT_ONCE):
        entries = [
            {"object": "embedding", "index": first + at, "embedding": form(vector)}
            for at, vector in enumerate(vectors[first : first + _WRITTEN_AT_ONCE])
        ]
        yield (b"," if first else b"") + orjson.dumps(entries)[1:-1]
    usage = {"prompt_tokens": input_tokens, "total_tokens": input_tokens}
    yield b"]," + orjson.dumps({"model": model, "usage": usage})[1:]
