"""The instant upstream's answers and its request parser."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.chat import Kind, chat_call
from benchmarks.upstream import json_writes, stream_events, stream_writes, take_request


def test_a_stream_has_twenty_contents_a_finish_a_usage_and_done() -> None:
    *events, done = (event.removeprefix(b"data: ") for event in stream_events())
    chunks = [orjson.loads(event) for event in events]
    assert done == b"[DONE]\n\n"
    assert [bool(chunk["choices"][0]["delta"]) for chunk in chunks[:-1]] == [True] * 20 + [False]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[20]["choices"][0]["finish_reason"] == "stop"
    assert chunks[21]["choices"] == []
    assert chunks[21]["usage"]["total_tokens"] == 51


def test_each_event_is_a_write_of_its_own() -> None:
    head, *chunks, end = stream_writes()
    assert head.endswith(b"\r\n\r\n")
    assert end == b"0\r\n\r\n"
    assert [chunk.partition(b"\r\n")[2][:-2] for chunk in chunks] == stream_events()
    assert all(int(chunk.partition(b"\r\n")[0], 16) == len(chunk.partition(b"\r\n")[2]) - 2 for chunk in chunks)


def test_a_completion_is_one_write_of_the_length_it_states() -> None:
    (write,) = json_writes()
    head, _, body = write.partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head
    assert orjson.loads(body)["choices"][0]["message"]["content"].startswith("Paris")


@pytest.mark.parametrize("kind", ["json", "stream"])
def test_a_request_is_taken_once_it_is_whole(kind: Kind) -> None:
    request = chat_call(kind, 80).encode()
    assert all(take_request(request[:length]) is None for length in range(len(request)))
    assert take_request(request) == (len(request), kind == "stream")


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_what_follows_a_request_is_left_alone(body: bytes, rest: bytes) -> None:
    request = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    taken = take_request(request + rest)
    assert taken is not None
    assert taken[0] == len(request)


def test_only_the_body_says_whether_to_stream() -> None:
    request = b'POST /?"stream":true HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}{"stream":true}'
    assert take_request(request) == (len(request) - len(b'{"stream":true}'), False)


def test_a_spaced_stream_flag_counts() -> None:
    body = b'{"stream": true}'
    request = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    assert take_request(request) == (len(request), True)
