"""Requests that are no chat request: a 4xx in OpenAI's shape that names the parameter, no upstream call, and nothing
of what was sent in the log.
"""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import orjson
import pytest

from tests.integration.gateway import KEY, SEARCH_KEY, Gateway, chat_body
from tests.integration.raw_client import connect, request_bytes
from tests.server import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

#: Part of every bad body below; must never turn up in a log.
MARK = "lorem-ipsum-7f3a"

_MESSAGES = [{"role": "user", "content": MARK}]
_TEXT = chat_body(content=MARK).decode()


def _with(**changes: Any) -> bytes:
    return orjson.dumps({"model": "chat", "messages": _MESSAGES, **changes})


def _without(name: str) -> bytes:
    body = {"model": "chat", "messages": _MESSAGES}
    del body[name]
    return orjson.dumps(body)


def _literal(value: str) -> bytes:
    """A body whose temperature is this text."""
    return (
        f'{{"model": "chat", "temperature": {value}, "messages": [{{"role": "user", "content": "{MARK}"}}]}}'.encode()
    )


UNREADABLE = {
    "no body": b"",
    "blanks": b" \r\n\t ",
    "half a JSON object": _TEXT[:-2].encode(),
    "text": MARK.encode(),
    "two documents": (_TEXT + _TEXT).encode(),
    "NaN": _literal("NaN"),
    "Infinity": _literal("-Infinity"),
    "a trailing comma": _TEXT[:-1].encode() + b",}",
    "single quotes": _TEXT.replace('"', "'").encode(),
    "a byte order mark": b"\xef\xbb\xbf" + _TEXT.encode(),
    "UTF-16": _TEXT.encode("utf-16"),
    "invalid UTF-8": _TEXT.encode().replace(b"lorem", b"lor\xff\xfe"),
    "a lone surrogate": _TEXT.replace("lorem", "\\ud800lorem").encode(),
    "an overlong encoding": _TEXT.encode().replace(b"lorem", b"\xc0\xafrem"),
    "a raw NUL": _TEXT.encode().replace(b"lorem", b"lo\x00em"),
    "an array": f'["{MARK}"]'.encode(),
    "a string": f'"{MARK}"'.encode(),
    "null": b"null",
    "100,000 levels of arrays": b"[" * 100_000 + b"]" * 100_000,
    "100,000 levels in a field": b'{"model": "chat", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 levels of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "100,000 open brackets": b"[" * 100_000,
    "1,000 levels in an unknown field": b'{"model": "chat", "messages": [], "x": ' + b"[" * 1000 + b"]" * 1000 + b"}",
}

NAMED = {
    "no model": (_without("model"), "model"),
    "no messages": (_without("messages"), "messages"),
    "model null": (_with(model=None), "model"),
    "model a number": (_with(model=7), "model"),
    "model empty": (_with(model=""), "model"),
    "model endless": (_with(model=MARK * 1000), "model"),
    "model with a line end": (_with(model=f"chat\r\n{MARK}"), "model"),
    "messages a string": (_with(messages=MARK), "messages"),
    "messages empty": (_with(messages=[]), "messages"),
    "a message that is a string": (_with(messages=[MARK]), "messages[0]"),
    "a message without a role": (_with(messages=[{"content": MARK}]), "messages[0].role"),
    "a role that is a number": (_with(messages=[{"role": 1, "content": MARK}]), "messages[0].role"),
    "content a number": (_with(messages=[*_MESSAGES, {"role": "user", "content": 1}]), "messages[1].content"),
    "stream a string": (_with(stream="true"), "stream"),
    "stream_options a list": (_with(stream=True, stream_options=[]), "stream_options"),
    "stream_options without stream": (_with(stream_options={"include_usage": True}), "stream_options"),
    "include_usage a string": (
        _with(stream=True, stream_options={"include_usage": MARK}),
        "stream_options.include_usage",
    ),
    "n zero": (_with(n=0), "n"),
    "n beyond reason": (_with(n=1_000_000), "n"),
    "n a string": (_with(n=MARK), "n"),
    "max_tokens a string": (_with(max_tokens=MARK), "max_tokens"),
    "max_tokens negative": (_with(max_tokens=-1), "max_tokens"),
    "max_completion_tokens a decimal": (_with(max_completion_tokens=1.5), "max_completion_tokens"),
    "temperature a string": (_with(temperature=MARK), "temperature"),
    "temperature a boolean": (_with(temperature=True), "temperature"),
    "tools an object": (_with(tools={}), "tools"),
    "a tool that is a string": (_with(tools=[MARK]), "tools[0]"),
    "response_format a string": (_with(response_format=MARK), "response_format"),
    "stop a number": (_with(stop=1), "stop"),
    "a key twice": (_TEXT.replace('"model":', '"model": "other", "model":').encode(), "model"),
    "a key twice, once escaped": (_TEXT.replace('"model":', '"mod\\u0065l": "other", "model":').encode(), "model"),
    "a key twice inside a message": (
        _TEXT.replace('"role":', '"role": "system", "role":').encode(),
        "messages[0].role",
    ),
}


def _check_silence(gateway: Gateway) -> None:
    """Nothing was asked of a provider, and the log holds nothing of what was sent."""
    assert gateway.asked == 0
    assert MARK not in gateway.server.log.text
    assert "lorem" not in gateway.server.log.text


@pytest.mark.parametrize("name", UNREADABLE)
async def test_a_body_that_is_no_json_object_is_refused(gateway: Gateway, name: str) -> None:
    reply = await gateway.post(body=UNREADABLE[name])
    assert reply.status == 400
    error = reply.error()
    assert error["type"] == "invalid_request_error"
    assert error["param"] is None or name == "1,000 levels in an unknown field"
    assert MARK not in error["message"]
    assert reply.header("x-should-retry") == "false"
    assert reply.header("x-request-id")
    _check_silence(gateway)


@pytest.mark.parametrize("name", NAMED)
async def test_a_wrong_parameter_is_named(gateway: Gateway, name: str) -> None:
    body, param = NAMED[name]
    reply = await gateway.post(body=body)
    assert reply.status == 400
    error = reply.error()
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert param.split(".")[-1].split("[")[0] in error["message"]
    assert MARK not in error["message"]
    _check_silence(gateway)


async def test_a_body_of_21_mb_is_refused(gateway: Gateway) -> None:
    body = chat_body(content=MARK * (21 * 1024 * 1024 // len(MARK)))
    reply = await gateway.post(body=body)
    assert reply.status == 413
    assert reply.error()["code"] == "request_too_large"
    _check_silence(gateway)


async def test_21_mb_in_chunks_are_refused(gateway: Gateway) -> None:
    head = request_bytes(
        headers={"Authorization": f"Bearer {KEY}", "Content-Length": "", "Transfer-Encoding": "chunked"}
    )
    piece = b"%x\r\n%s\r\n" % (1024 * 1024, b" " * 1024 * 1024)
    async with connect(gateway.server.address) as client:
        await client.send(head)
        try:
            for _ in range(21):
                await client.send(piece)
        except ConnectionError:
            pass  # it has heard enough
        reply = await client.read_reply()
    assert reply.status == 413
    _check_silence(gateway)


async def test_a_body_just_under_the_cap_is_served(gateway: Gateway) -> None:
    body = chat_body(content="x" * (20_000_000 - 200))
    reply = await gateway.post(body=body)
    assert reply.status == 200
    assert gateway.asked == 1


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(_TEXT.encode())),
        ("deflate", zlib.compress(_TEXT.encode())),
        ("br", _TEXT.encode()),
        ("gzip", gzip.compress(b" " * 50_000_000)),
        ("gzip, gzip", _TEXT.encode()),
    ],
)
async def test_a_compressed_body_is_refused_unread(gateway: Gateway, encoding: str, body: bytes) -> None:
    reply = await gateway.post(body=body, headers={"Content-Encoding": encoding})
    assert reply.status == 415
    assert reply.error()["param"] == "content-encoding"
    _check_silence(gateway)


async def test_a_compressed_body_that_does_not_say_so_is_no_json(gateway: Gateway) -> None:
    reply = await gateway.post(body=gzip.compress(_TEXT.encode()))
    assert reply.status == 400
    _check_silence(gateway)


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
async def test_a_body_of_another_type_is_refused(gateway: Gateway, kind: str) -> None:
    reply = await gateway.post(body=_TEXT.encode(), headers={"Content-Type": kind})
    assert reply.status == 415
    assert reply.error()["param"] == "content-type"
    _check_silence(gateway)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json", ""])
async def test_json_by_any_name_is_read(gateway: Gateway, kind: str) -> None:
    assert (await gateway.post(body=chat_body(), headers={"Content-Type": kind})).status == 200


async def test_an_unknown_model_is_named_in_the_answer_only(gateway: Gateway) -> None:
    reply = await gateway.post(body=_with(model=MARK))
    assert reply.status == 404
    error = reply.error()
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    _check_silence(gateway)


@pytest.mark.parametrize("name", ["../../admin", "chat\u202e", "chat?x=1", "chat#", "%2e%2e", "CHAT", " chat"])
async def test_a_name_that_only_resembles_a_model_is_not_one(gateway: Gateway, name: str) -> None:
    reply = await gateway.post(body=_with(model=name))
    assert reply.status in (400, 404)
    assert reply.error()["param"] == "model"
    _check_silence(gateway)


async def test_a_forbidden_model_costs_no_upstream_call(gateway: Gateway) -> None:
    reply = await gateway.post(body=_with(model="spare"), headers={"Authorization": f"Bearer {SEARCH_KEY}"})
    assert reply.status == 403
    assert (reply.error()["code"], reply.error()["param"]) == ("model_not_allowed", "model")
    _check_silence(gateway)


@pytest.mark.parametrize("value", ["Bearer sk-wrong", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer " + "a" * 10_000, ""])
async def test_a_wrong_key_is_refused_without_being_repeated(gateway: Gateway, value: str) -> None:
    reply = await gateway.post(body=_with(), headers={"Authorization": value})
    assert reply.status == 401
    error = reply.error()
    assert error["code"] == "invalid_api_key"
    assert "sk-wrong" not in error["message"]
    _check_silence(gateway)


async def test_the_fact_of_a_refusal_is_logged_and_counted(gateway: Gateway) -> None:
    kind = 'llm_errors_total{kind="invalid_request"}'
    before = gateway.server.metric(kind)
    reply = await gateway.post(body=_with(temperature=MARK), headers={"X-Request-Id": "refused-1"})
    assert reply.header("x-request-id") == "refused-1"
    event = gateway.server.log.wait_for(lambda event: event.get("request_id") == "refused-1")
    assert (event["event"], event["status"], event["error"], event["param"]) == (
        "refused",
        400,
        "invalid_request",
        "temperature",
    )
    wait_until(lambda: gateway.server.metric(kind) == before + 1)
    _check_silence(gateway)


@pytest.mark.parametrize("value", ["a b", "x" * 129, "\u00e4", "<script>", 'a"b'])
async def test_an_odd_request_id_is_replaced(gateway: Gateway, value: str) -> None:
    reply = await gateway.post(body=_with(temperature=MARK), headers={"X-Request-Id": value})
    given = reply.header("x-request-id")
    assert given is not None
    assert given.startswith("req_")
    assert value not in gateway.server.log.text
    _check_silence(gateway)
