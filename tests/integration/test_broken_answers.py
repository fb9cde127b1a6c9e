"""Answers without stream that are none: never passed on, and invisible when the next target answers."""

from __future__ import annotations

import orjson
import pytest

from tests.fakes import completion, error_body
from tests.integration.gateway import ANSWER, Gateway
from tests.upstream import (
    BROKEN,
    End,
    head,
    play,
    redirect,
    reply,
    reply_gzip,
    reply_html,
    reply_json,
)

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

BROKEN_ANSWERS = {
    "HTML": reply_html(),
    "half an answer": BROKEN["body too short"],
    "a reset in the body": BROKEN["reset in the body"],
    "an error object": reply_json(error_body("Boom.")),
    "an empty body": reply(b"", 200, ("Content-Type", "application/json")),
    "an empty object": reply_json({}),
    "no choices": reply_json({**completion("x"), "choices": []}),
    "choices null": reply_json({**completion("x"), "choices": None}),
    "a choice without message": reply_json({**completion("x"), "choices": [{"index": 0}]}),
    "an array": reply_json([1]),
    "null": reply(b"null", 200, ("Content-Type", "application/json")),
    "NaN": reply(b'{"choices": NaN}', 200, ("Content-Type", "application/json")),
    "invalid UTF-8": reply(b'{"choices": "\xff"}', 200, ("Content-Type", "application/json")),
    "deep nesting": reply(b"[" * 100_000, 200, ("Content-Type", "application/json")),
    "gzip": reply_gzip(completion("x")),
    "a redirect": redirect("http://127.0.0.1:1/"),
    "a close": play(end=End.CLOSE),
    "garbage": BROKEN["garbage"],
    "two framings": BROKEN["two framings"],
    "204": play(head(204)),
}


@pytest.mark.parametrize("name", BROKEN_ANSWERS)
async def test_a_broken_answer_is_never_passed_on(gateway: Gateway, name: str) -> None:
    gateway.play(BROKEN_ANSWERS[name])
    got = await gateway.post("chat")
    status, body = got.status, got.body
    error = orjson.loads(body)["error"]
    expected = (502, "upstream_misconfigured") if name == "a redirect" else (502, "upstream_error")
    assert (status, error["code"]) == expected
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("name", BROKEN_ANSWERS)
async def test_a_broken_answer_is_invisible_when_the_next_target_answers(gateway: Gateway, name: str) -> None:
    gateway.play(BROKEN_ANSWERS[name], reply_json(completion(ANSWER)))
    got = await gateway.post("pair")
    status, body = got.status, got.body
    assert status == 200
    assert orjson.loads(body)["choices"][0]["message"]["content"] == ANSWER
    assert gateway.asked == 2


async def test_bytes_behind_an_answer_are_never_given_to_the_next_caller(gateway: Gateway) -> None:
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    whole = orjson.dumps(completion(ANSWER))
    answer = head(200, ("Content-Type", "application/json"), ("Content-Length", str(len(whole)))) + whole
    for model in ("chat", "chat-httpx"):
        gateway.play(play(answer + forged), reply_json(completion(ANSWER)))
        for _ in range(3):
            got = await gateway.post(model)
            assert got.status == 200
            assert orjson.loads(got.body)["choices"][0]["message"]["content"] == ANSWER
