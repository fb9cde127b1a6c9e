"""Requests for embeddings as OpenAI checks them, and answers in the form that was asked for."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import InvalidRequest
from proxy.wire.embeddings import (
    EmbeddingsRequest,
    parse_embeddings_request,
    read_embeddings,
    read_embeddings_usage,
    size_of,
    write_embeddings,
)
from proxy.wire.failure import ErrorAnswer, MalformedAnswer
from proxy.wire.usage import Usage
from proxy.wire.vectors import floats_of, read_vector
from tests.fakes import embeddings

A, B = [0.25, -1.0], [0.5, 2.0]


def parsed(**fields: object) -> EmbeddingsRequest:
    return parse_embeddings_request(orjson.dumps({"model": "m", "input": "x", **fields}))


def read(document: object, inputs: int = 2, *, as_base64: bool = False) -> Any:
    return read_embeddings(orjson.dumps(document), inputs, as_base64=as_base64)


# -- requests --


@pytest.mark.parametrize(
    ("given_", "inputs"),
    [
        ("Hello", ["Hello"]),
        (["Hello"], ["Hello"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        (["x"] * 2048, ["x"] * 2048),
        (list(range(8191)), [list(range(8191))]),
    ],
)
def test_every_form_of_input_is_read_one_by_one_and_sent_as_it_came(given_: object, inputs: object) -> None:
    request = parsed(input=given_)
    assert request.inputs == inputs
    assert request.body["input"] == given_


def test_to_the_chain_it_is_a_request_for_an_answer_without_choices() -> None:
    request = parsed(dimensions=8, user="u", top_k=[1])
    assert (request.model, request.stream, request.include_usage, request.n) == ("m", False, False, 0)
    assert request.body == {"model": "m", "input": "x", "dimensions": 8, "user": "u", "top_k": [1]}
    assert request.size_bytes == len(orjson.dumps(request.body))


@pytest.mark.parametrize(("form", "is_base64"), [("base64", True), ("float", False), (None, False)])
def test_the_form_of_the_answer_is_floats_unless_base64_is_asked_for(form: str | None, is_base64: bool) -> None:
    assert parsed(encoding_format=form).as_base64 is is_base64


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": None}, "input", "missing_required_parameter"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": 7}, "model", "invalid_type"),
        ({"model": ""}, "model", "empty_string"),
        ({"input": ""}, "input", "empty_string"),
        ({"input": []}, "input", "empty_array"),
        ({"input": ["a", ""]}, "input[1]", "empty_string"),
        ({"input": [[1], []]}, "input[1]", "empty_array"),
        ({"input": 7}, "input", "invalid_type"),
        ({"input": {"text": "x"}}, "input", "invalid_type"),
        ({"input": [{"text": "x"}]}, "input[0]", "invalid_type"),
        ({"input": [None]}, "input[0]", "invalid_type"),
        ({"input": [True]}, "input[0]", "invalid_type"),
        ({"input": ["a", 1]}, "input[1]", "invalid_type"),
        ({"input": ["a", [1]]}, "input[1]", "invalid_type"),
        ({"input": [1, "a"]}, "input[1]", "invalid_type"),
        ({"input": [1, 1.5]}, "input[1]", "invalid_type"),
        ({"input": [[1, True]]}, "input[0][1]", "invalid_type"),
        ({"input": [1, -1]}, "input", "integer_below_min_value"),
        ({"input": ["x"] * 2049}, "input", "array_above_max_length"),
        ({"encoding_format": "int8"}, "encoding_format", "invalid_value"),
        ({"encoding_format": 1}, "encoding_format", "invalid_type"),
        ({"dimensions": 0}, "dimensions", "integer_below_min_value"),
        ({"dimensions": "8"}, "dimensions", "invalid_type"),
        ({"dimensions": True}, "dimensions", "invalid_type"),
        ({"user": 7}, "user", "invalid_type"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(fields: dict[str, object], param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsed(**fields)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"input":"a","input":"b","model":"m"}'])
def test_what_is_no_request_at_all_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_embeddings_request(raw)


def test_some_of_the_inputs_make_a_request_like_the_whole() -> None:
    request = parsed(input=["a", "bb", "ccc"], dimensions=2, encoding_format="base64")
    some = request.only(["bb", "ccc"])
    assert some.body == {"model": "m", "input": ["bb", "ccc"], "dimensions": 2, "encoding_format": "base64"}
    assert (some.inputs, some.as_base64, some.size_bytes) == (["bb", "ccc"], True, 5)
    assert request.inputs == ["a", "bb", "ccc"]


def test_an_input_is_as_large_as_its_text_or_its_tokens() -> None:
    assert (size_of("abc"), size_of("日本"), size_of([7, 8])) == (3, 6, 8)


# -- answers --


def test_an_answer_as_asked_for_travels_untouched() -> None:
    for as_base64 in (False, True):
        document = {**embeddings(A, B, as_base64=as_base64), "extra": 1}
        found = read(document, as_base64=as_base64)
        assert found.body == orjson.dumps(document)
        assert [list(floats_of(vector)) for vector in found.vectors] == [A, B]
        assert (found.model, found.usage) == ("upstream-embed", Usage(5, 0))


@pytest.mark.parametrize("as_base64", [False, True])
def test_the_other_form_is_no_answer_to_pass_on(as_base64: bool) -> None:
    found = read(embeddings(A, B, as_base64=not as_base64), as_base64=as_base64)
    assert found.body == b""
    written = b"".join(write_embeddings(found.vectors, found.model, 5, as_base64=as_base64))
    assert orjson.loads(written) == embeddings(A, B, as_base64=as_base64)


def test_vectors_are_brought_into_the_order_of_their_index() -> None:
    document = embeddings(A, B)
    document["data"].reverse()
    found = read(document)
    assert ([list(floats_of(vector)) for vector in found.vectors], found.body) == ([A, B], b"")


@pytest.mark.parametrize("indexes", [[None, None], [0, 0], [1, 2], ["0", "1"], [0.5, 1]])
def test_indexes_that_make_no_sense_leave_the_order_as_it_came(indexes: list[object]) -> None:
    document = embeddings(A, B)
    for entry, index in zip(document["data"], indexes, strict=True):
        entry["index"] = index
    found = read(document)
    assert ([list(floats_of(vector)) for vector in found.vectors], found.body) == ([A, B], b"")


def test_an_answer_without_usage_is_completed() -> None:
    found = read(embeddings(A, B, tokens=None))
    assert (found.usage, found.body) == (None, b"")


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 3, "total_tokens": 3}, 3),
        ({"prompt_tokens": 0}, 0),
        ({"total_tokens": 4}, 4),
        ({"input_tokens": 5, "output_tokens": 0}, 5),
        ({"prompt_tokens": -1, "total_tokens": 6}, 6),
        ({"prompt_tokens": True}, None),
        ({}, None),
        (None, None),
        ([], None),
    ],
)
def test_usage_is_read_from_whatever_names_it(usage: object, tokens: int | None) -> None:
    assert read_embeddings_usage(usage) == (None if tokens is None else Usage(tokens, 0))


@pytest.mark.parametrize(
    "document",
    [
        [],
        "x",
        {},
        {"data": None},
        {"data": []},
        {"data": [1, 2]},
        {"data": [{}, {}]},
        embeddings(A),
        embeddings(A, B, A),
        embeddings(A, [1.0]),
        embeddings(A, []),
        {"data": [{"index": 0, "embedding": "?"}, {"index": 1, "embedding": "?"}]},
    ],
)
def test_what_is_no_answer_is_malformed(document: object) -> None:
    with pytest.raises(MalformedAnswer):
        read(document)


@pytest.mark.parametrize("raw", [b"", b" ", b"<html>", b'{"data": ['])
def test_what_is_no_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        read_embeddings(raw, 1, as_base64=False)


def test_an_error_in_a_200_is_one() -> None:
    with pytest.raises(ErrorAnswer) as caught:
        read({"error": {"message": "no", "code": "x"}})
    assert caught.value.error.code == "x"


VECTOR = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3)


@given(st.lists(VECTOR, min_size=1, max_size=5), st.booleans(), st.booleans())
def test_any_answer_reads_the_same_in_both_forms(vectors: list[list[float]], came: bool, asked: bool) -> None:
    found = read(embeddings(*vectors, as_base64=came), len(vectors), as_base64=asked)
    body = found.body or b"".join(write_embeddings(found.vectors, found.model, 5, as_base64=asked))
    entries = orjson.loads(body)["data"]
    assert [entry["index"] for entry in entries] == list(range(len(vectors)))
    assert all(isinstance(entry["embedding"], str) is asked for entry in entries)
    assert [read_vector(entry["embedding"]) for entry in entries] == [read_vector(vector) for vector in vectors]


@pytest.mark.parametrize("count", [1, 31, 32, 33, 70])
@pytest.mark.parametrize("as_base64", [False, True])
def test_an_answer_is_written_in_parts_that_are_one_document(count: int, as_base64: bool) -> None:
    vectors = [read_vector([float(number), 0.5]) for number in range(count)]
    parts = [*write_embeddings(vectors, "m", 5, as_base64=as_base64)]
    assert len(parts) == 2 + (count + 31) // 32
    document = orjson.loads(b"".join(parts))
    assert [entry["index"] for entry in document["data"]] == [*range(count)]
    assert [read_vector(entry["embedding"]) for entry in document["data"]] == vectors
    assert list(document) == ["object", "data", "model", "usage"]
    assert document["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
