"""The one parse of a chat request."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import InvalidRequest
from proxy.wire.chat import parse_chat_request

MESSAGES = [{"role": "user", "content": "Hello"}]


def request(**members: object) -> bytes:
    return orjson.dumps({"model": "m", "messages": MESSAGES} | members)


def refusal(raw: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_chat_request(raw)
    assert caught.value.status == 400
    return caught.value


def test_smallest_request_gets_the_defaults() -> None:
    parsed = parse_chat_request(request())
    assert (parsed.model, parsed.stream, parsed.include_usage, parsed.n) == ("m", False, False, 1)
    assert parsed.body == {"model": "m", "messages": MESSAGES}


def test_streaming_request_says_what_it_wants() -> None:
    parsed = parse_chat_request(request(stream=True, stream_options={"include_usage": True}, n=3))
    assert (parsed.stream, parsed.include_usage, parsed.n) == (True, True, 3)


@pytest.mark.parametrize("options", [None, {}, {"include_usage": None}, {"include_usage": False}, {"x": 1}])
def test_usage_is_asked_for_only_by_true(options: object) -> None:
    assert not parse_chat_request(request(stream=True, stream_options=options)).include_usage


OPTIONAL = (
    "stream stream_options n max_tokens max_completion_tokens temperature top_p presence_penalty frequency_penalty "
    "stop tools tool_choice response_format seed user logit_bias logprobs metadata reasoning_effort"
)


def test_null_means_absent() -> None:
    parsed = parse_chat_request(request(**dict.fromkeys(OPTIONAL.split())))
    assert (parsed.stream, parsed.n) == (False, 1)


@pytest.mark.parametrize(
    "members",
    [
        {"top_k": 40, "reasoning_content": {"deep": [1, None]}, "x-anything": "y"},
        {"messages": [{"role": "oracle", "content": "x"}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": []}]},
        {"messages": [{"role": "assistant"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        {"temperature": 1},
        {"temperature": 99.5},
        {"max_tokens": 1},
        {"n": 128},
        {"stop": "x"},
        {"stop": ["x", "y"]},
        {"tool_choice": "auto"},
        {"tool_choice": {"type": "function"}},
        {"model": "x" * 256},
        {"model": "Größe 7/b:free"},
        {"stream_options": None},
    ],
)
def test_what_the_api_takes_is_taken(members: dict[str, object]) -> None:
    parsed = parse_chat_request(request(**members))
    assert parsed.body == {"model": "m", "messages": MESSAGES} | members


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"model": ""}, "model"),
        ({"model": "x" * 257}, "model"),
        ({"model": "a\nb"}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [*MESSAGES, "hi"]}, "messages[1]"),
        ({"messages": [*MESSAGES, *MESSAGES, {"content": "x"}]}, "messages[2].role"),
        ({"messages": [{"role": 5}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": {"text": "x"}}]}, "messages[0].content"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": False, "stream_options": {}}, "stream_options"),
        ({"stream": True, "stream_options": []}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"n": 1.0}, "n"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": True}, "top_p"),
        ({"presence_penalty": []}, "presence_penalty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 2.5}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", 5]}, "stop[1]"),
        ({"tools": {}}, "tools"),
        ({"tools": [{}, "x"]}, "tools[1]"),
        ({"response_format": "json"}, "response_format"),
        ({"user": 5}, "user"),
        ({"seed": "5"}, "seed"),
        ({"logit_bias": []}, "logit_bias"),
    ],
)
def test_refusal_names_the_parameter(members: dict[str, object], param: str) -> None:
    error = refusal(request(**members))
    assert error.param == param
    assert f"'{param}'" in error.message
    assert error.type == "invalid_request_error"


@pytest.mark.parametrize("name", ["model", "messages"])
def test_missing_parameter_is_named(name: str) -> None:
    body = {"model": "m", "messages": MESSAGES}
    del body[name]
    error = refusal(orjson.dumps(body))
    assert (error.param, error.code) == (name, "missing_required_parameter")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty"),
        (b" \r\n\t", "empty"),
        (b'{"secret', "column"),
        (b'{"model": "secret",}', "column 19"),
        (b'{"secret": NaN}', "column"),
        (b'{"secret": -Infinity}', "column"),
        (b'{"secret": 1e999}', "column"),
        (b'{"secret": "\\ud800"}', "column"),
        (b'{"secret": "a\x00b"}', "column"),
        (b'{"secret": "\xff"}', "byte 12"),
        (b"\xef\xbb\xbf{}", "column"),
        ("{}".encode("utf-16"), "UTF-8"),
        (b"[" * 100_000, "depth"),
        (b'{"a":' * 100_000, "depth"),
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "deep"),
        (b"[]", "an array"),
        (b'"secret"', "a string"),
        (b"null", "null"),
        (b"7", "an integer"),
        (b"secret", "column 1"),
    ],
)
def test_unreadable_body_is_refused_without_repeating_it(raw: bytes, words: str) -> None:
    error = refusal(raw)
    assert words in error.message
    assert "secret" not in error.message
    assert len(error.message) < 300


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b'{"model":"m","messages":[{"role":"user"}],"model":"secret"}', "model"),
        (b'{"model":"m","messages":[{"role":"user","content":"a","content":"secret"}]}', "messages[0].content"),
        (b'{"model":"m","messages":[{"role":"user"}],"a":{"secret prompt":1,"secret prompt":2}}', None),
        (b'{"model":"m","messages":[{"role":"user"}],"mod\\u0065l":"secret"}', "model"),
    ],
)
def test_repeated_key_is_refused_and_its_value_kept_secret(raw: bytes, param: str | None) -> None:
    error = refusal(raw)
    assert (error.param, error.code) == (param, "duplicate_key")
    assert "secret" not in error.message


def test_decoders_error_is_no_part_of_the_refusals_traceback() -> None:
    assert refusal(b'{"secret').__suppress_context__


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


def parsed_or_blamed(raw: bytes) -> object:
    try:
        return parse_chat_request(raw).body
    except InvalidRequest as error:
        return error.param


@given(st.dictionaries(st.text().filter(lambda key: key not in ("model", "messages")), json_values), st.booleans())
def test_body_is_kept_whole_or_refused_by_name(extra: dict[str, object], is_compact: bool) -> None:
    body = extra | {"model": "m", "messages": MESSAGES}
    separators = (",", ":") if is_compact else None
    raw = json.dumps(body, ensure_ascii=not is_compact, separators=separators).encode()
    outcome = parsed_or_blamed(raw)
    assert outcome == body or (isinstance(outcome, str) and outcome.partition("[")[0].partition(".")[0] in body)


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_chat_request(raw)
