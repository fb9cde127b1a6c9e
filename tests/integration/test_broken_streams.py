"""Providers whose streams break: before the first event nobody notices, after it the client is told."""

from __future__ import annotations

import orjson
import pytest

from tests.fakes import completion, error_body, sse_chunks, sse_event
from tests.integration.gateway import Gateway
from tests.integration.sse import DONE, error_at_the_end, text_of
from tests.upstream import (
    BROKEN,
    SSE_HEAD,
    Behaviour,
    End,
    chunk,
    drip_comments,
    hang,
    hang_after_head,
    head,
    play,
    redirect,
    reply_gzip,
    reply_html,
    reply_json,
    stream,
)

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

BROKEN_STARTS = {
    **{f"status {status}": reply_json(error_body(), status) for status in (401, 403, 404, 408, 429, 500, 502, 503)},
    "status 529": play(b"HTTP/1.1 529 Overloaded\r\nContent-Length: 2\r\n\r\n{}"),
    "a spent account": reply_json(error_body("Pay.", "insufficient_quota", "insufficient_quota"), 429),
    "an error object first": stream([sse_event(error_body("Overloaded.", "overloaded_error"))]),
    "an error event first": stream([b'event: error\ndata: {"message": "Overloaded."}\n\n']),
    "an Anthropic error first": stream(
        [sse_event({"type": "error", "error": {"type": "overloaded_error", "message": "x"}})]
    ),
    "HTML": reply_html(),
    "HTML as a stream": play(SSE_HEAD + chunk(b"<!doctype html><title>Sign in</title>\n\n") + chunk(b"")),
    "JSON that is no chunk": stream([b"data: 7\n\n"]),
    "no JSON": stream([b"data: {oops\n\n"]),
    "an empty stream": stream([]),
    "[DONE] alone": stream([DONE]),
    "a redirect": redirect("http://127.0.0.1:1/v1/chat/completions"),
    "gzip": reply_gzip(completion("x")),
    "204": play(head(204)),
    "half a head": play(b"HTTP/1.1 200 OK\r\nContent-Ty", end=End.CLOSE),
    "a close": play(end=End.CLOSE),
    "a reset": play(end=End.RESET),
    "garbage": BROKEN["garbage"],
    "a huge header": BROKEN["huge header"],
    "two framings": BROKEN["two framings"],
    "silence": hang(),
    "silence after the head": hang_after_head(),
    "comments without end": drip_comments(),
}


@pytest.mark.parametrize("name", BROKEN_STARTS)
async def test_a_broken_start_is_invisible_when_the_next_target_answers(gateway: Gateway, name: str) -> None:
    gateway.play(BROKEN_STARTS[name], stream(sse_chunks("all ", "well")))
    reply = await gateway.post("pair", streams=True)
    status, body = reply.status, reply.body
    assert status == 200
    assert text_of(body) == "all well"
    assert body.endswith(DONE)
    assert b"error" not in body
    assert [request.json()["model"] for request in gateway.main.requests] in (
        ["up-one", "up-two"],
        ["up-two", "up-one"],
    )


@pytest.mark.parametrize("name", ["status 500", "an error object first", "a close", "silence", "HTML", "garbage"])
async def test_a_broken_start_over_httpx_is_invisible_too(gateway: Gateway, name: str) -> None:
    gateway.play(BROKEN_STARTS[name], stream(sse_chunks("all ", "well")))
    reply = await gateway.post("pair-httpx", streams=True)
    status, body = reply.status, reply.body
    assert status == 200
    assert text_of(body) == "all well"


@pytest.mark.parametrize("name", BROKEN_STARTS)
async def test_a_broken_start_everywhere_is_a_real_status(gateway: Gateway, name: str) -> None:
    gateway.play(BROKEN_STARTS[name])
    reply = await gateway.post("pair", streams=True)
    status, body = reply.status, reply.body
    error = orjson.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (status, error["code"]) == EXPECTED.get(name, (502, "upstream_error"))
    assert gateway.asked == 2


EXPECTED = {
    "status 401": (502, "upstream_auth_error"),
    "status 403": (502, "upstream_auth_error"),
    "status 404": (502, "upstream_misconfigured"),
    "status 408": (504, "upstream_timeout"),
    "status 429": (429, "rate_limit_exceeded"),
    "status 503": (503, "upstream_unavailable"),
    "status 529": (503, "upstream_unavailable"),
    "a spent account": (503, "upstream_quota_exhausted"),
    "an error object first": (503, "upstream_unavailable"),
    "an Anthropic error first": (503, "upstream_unavailable"),
    "a redirect": (502, "upstream_misconfigured"),
    "silence": (504, "upstream_timeout"),
    "silence after the head": (504, "upstream_timeout"),
    "comments without end": (504, "upstream_timeout"),
}


_START = sse_chunks("one ", "two", finish=None, done=False)
BROKEN_RESTS = {
    "a clean end": stream(_START),
    "a close": stream(_START, delay_s=0.01, complete=False, end=End.CLOSE),
    "a reset": stream(_START, delay_s=0.01, complete=False, end=End.RESET),
    "half an event": stream([*_START, b'data: {"choices": [{"ind']),
    "an error object": stream([*_START, sse_event(error_body("Boom."))]),
    "an error event": stream([*_START, b'event: error\ndata: {"message": "Boom."}\n\n', DONE]),
    "an error, then [DONE]": stream([*_START, sse_event(error_body("Boom.")), DONE]),
    "HTML": stream([*_START, b"data: <html>\n\n"], delay_s=0.02),
    "no object": stream([*_START, b"data: [1]\n\n", DONE], delay_s=0.02),
    "silence": stream(_START, complete=False, end=End.HANG),
    "comments without end": Behaviour((SSE_HEAD, *map(chunk, _START)), forever=(chunk(b": still here\n\n"), 0.05)),
    "a chunk size that is no number": play(SSE_HEAD, *map(chunk, _START), 0.01, b"zz\r\n", end=End.HANG),
    "content-length that is not reached": play(
        head(200, ("Content-Type", "text/event-stream"), ("Content-Length", "100000")) + b"".join(_START),
        0.01,
        end=End.CLOSE,
    ),
    "an end without length": play(
        head(200, ("Content-Type", "text/event-stream"), ("Connection", "close")) + b"".join(_START), end=End.CLOSE
    ),
}


@pytest.mark.parametrize("name", BROKEN_RESTS)
async def test_a_stream_that_breaks_ends_with_an_error_event(gateway: Gateway, name: str) -> None:
    gateway.play(BROKEN_RESTS[name])
    reply = await gateway.post("pair", streams=True)
    status, body = reply.status, reply.body
    assert status == 200
    assert text_of(body) == "one two"
    error = error_at_the_end(body)
    if name in ("silence", "comments without end"):
        assert error["code"] == "upstream_timeout"
    elif name == "a chunk size that is no number":  # aiohttp closes the connection and tells nobody: idle ends it
        assert error["code"] in ("upstream_error", "upstream_timeout")
    else:
        assert error["code"] == "upstream_error"
    assert b'finish_reason":"' not in body.replace(b" ", b"")
    assert gateway.asked == 1  # what was said cannot be unsaid: nobody else is asked


@pytest.mark.parametrize("name", ["a clean end", "a close", "a reset", "an error object", "silence"])
async def test_a_stream_that_breaks_over_httpx_ends_with_an_error_event(gateway: Gateway, name: str) -> None:
    gateway.play(BROKEN_RESTS[name])
    reply = await gateway.post("pair-httpx", streams=True)
    assert (reply.status, text_of(reply.body)) == (200, "one two")
    assert error_at_the_end(reply.body)["type"] == "upstream_error"
