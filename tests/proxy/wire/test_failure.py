"""Errors in every envelope that upstreams use."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.failure import NO_MESSAGE, ErrorBody, MalformedAnswer, find_error, parse_answer, read_error


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param(
            {"error": {"message": "No.", "type": "invalid_request_error", "param": "n", "code": "bad"}},
            ErrorBody("No.", "invalid_request_error", "bad", "n"),
            id="openai",
        ),
        pytest.param({"error": {"message": "No.", "code": None}}, ErrorBody("No."), id="openai-nulls"),
        pytest.param(
            {"object": "error", "message": "Too long", "type": "BadRequestError", "param": None, "code": 400},
            ErrorBody("Too long", "BadRequestError", status=400),
            id="vllm-old",
        ),
        pytest.param({"detail": "Not Found"}, ErrorBody("Not Found"), id="fastapi"),
        pytest.param(
            {"detail": [{"loc": ["body", "messages", 0], "msg": "field required", "input": "PROMPT"}, {"msg": "x"}]},
            ErrorBody("messages.0: field required; x", param="messages.0"),
            id="fastapi-list",
        ),
        pytest.param({"error": "model 'x' not found"}, ErrorBody("model 'x' not found"), id="ollama"),
        pytest.param(
            {"error": "busy", "error_type": "overloaded"},
            ErrorBody("busy", "overloaded"),
            id="text-generation-inference",
        ),
        pytest.param({"message": "Nope"}, ErrorBody("Nope"), id="message"),
        pytest.param({"detail": ["a", "", None, "b"]}, ErrorBody("a"), id="list-of-words"),
        pytest.param({"statusCode": 401, "message": "Denied"}, ErrorBody("Denied", status=401), id="azure-apim"),
        pytest.param(
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            ErrorBody("Overloaded", "overloaded_error"),
            id="anthropic",
        ),
        pytest.param(
            {"code": "InvalidParameter", "message": "Bad n", "request_id": "1"},
            ErrorBody("Bad n", code="InvalidParameter"),
            id="dashscope",
        ),
        pytest.param(
            [{"error": {"code": 429, "message": "Slow down", "status": "RESOURCE_EXHAUSTED"}}],
            ErrorBody("Slow down", "RESOURCE_EXHAUSTED", status=429),
            id="google",
        ),
        pytest.param(
            {"object": "error", "message": {"detail": [{"loc": ["body", "n"], "msg": "no"}]}, "code": None},
            ErrorBody("n: no", param="n"),
            id="mistral",
        ),
        pytest.param({"error": {"message": "x", "code": "503"}}, ErrorBody("x", status=503), id="status-as-text"),
        pytest.param(
            {"error": {"message": "x", "code": 1301}}, ErrorBody("x", code="1301"), id="number-that-is-no-status"
        ),
        pytest.param({"error": {}}, ErrorBody(NO_MESSAGE), id="empty"),
        pytest.param({}, ErrorBody(NO_MESSAGE), id="nothing"),
    ],
)
def test_every_envelope_is_read(document: object, expected: ErrorBody) -> None:
    assert read_error(orjson.dumps(document)) == expected


@pytest.mark.parametrize(
    "raw", [b"", b"<html>secret</html>", b"secret", b"[]", b'"secret"', b"12", b"\xff", b"[" * 9999]
)
def test_unreadable_bodies_give_a_message_without_content(raw: bytes) -> None:
    assert read_error(raw) == ErrorBody(NO_MESSAGE)


def test_values_of_a_rejected_field_stay_out() -> None:
    raw = orjson.dumps({"detail": [{"loc": ["body"], "msg": "bad", "input": "my prompt", "ctx": {"x": "my prompt"}}]})
    assert "prompt" not in repr(read_error(raw))


def test_endless_message_is_cut() -> None:
    raw = orjson.dumps({"error": {"message": "x" * 100_000, "type": "t" * 100_000}})
    error = read_error(raw)
    assert len(error.message) == 16_000
    assert error.type is not None
    assert len(error.type) == 200


@pytest.mark.parametrize(
    "document",
    [
        {"error": {"message": "x"}, "choices": [{}]},
        {"error": "x"},
        {"error": True},
        {"object": "error", "message": "x"},
        {"type": "error", "error": {}},
        {"code": "Bad", "message": "x"},
        {"detail": "x"},
        {"detail": []},
    ],
)
def test_error_in_a_200_is_noticed(document: dict[str, object]) -> None:
    assert find_error(document) is not None


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"choices": [], "error": None},
        {"choices": [{}], "error": {}},
        {"choices": [{}], "error": "", "message": "x"},
        {"id": "x", "message": {"role": "assistant"}},
    ],
)
def test_what_is_no_error_is_left_alone(document: dict[str, object]) -> None:
    assert find_error(document) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(300, 700) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "detail", "code", "type", "msg", "loc", "param", "status"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(json_values)
def test_any_document_is_read_into_words(document: object) -> None:
    error = read_error(orjson.dumps(document))
    assert error.message
    assert error.status is None or 400 <= error.status <= 599
    for word in (error.type, error.code, error.param):
        assert word is None or word


def test_an_answer_is_a_json_object() -> None:
    assert parse_answer(b'{"id": 1}') == {"id": 1}


@pytest.mark.parametrize(
    ("raw", "reason"), [(b" ", "is empty"), (b"<html>", "is not JSON"), (b"[]", "is no JSON object")]
)
def test_what_is_none_is_named_and_never_repeated(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedAnswer, match=reason) as caught:
        parse_answer(raw)
    assert "html" not in str(caught.value)
    assert caught.value.__cause__ is None
