"""Neither keys nor prompts nor answers leave by the log or the metrics, however calls end."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes import completion, error_body, sse_chunks, sse_event
from tests.integration.gateway import ANSWER, KEY, PROMPT, PROVIDER_KEY, Gateway, until
from tests.integration.raw_client import connect, request_bytes
from tests.upstream import Behaviour, End, hang, play, reply_json, stream

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

#: An upstream that repeats whatever it should not.
_ECHO = error_body(f"{PROVIDER_KEY} said {PROMPT} and {ANSWER}", PROVIDER_KEY, PROMPT, ANSWER)

ENDINGS: dict[str, tuple[str, bool, Behaviour]] = {
    "an answer": ("chat", False, reply_json(completion(ANSWER))),
    "a stream": ("chat", True, stream(sse_chunks(ANSWER, usage=(1, 1)))),
    "a 400": ("chat", False, reply_json(_ECHO, 400)),
    "a 401": ("chat", False, reply_json(_ECHO, 401)),
    "a 500": ("pair", False, reply_json(_ECHO, 500)),
    "an error inside a 200": ("pair", False, reply_json(_ECHO)),
    "an error event first": ("pair", True, stream([sse_event(_ECHO)])),
    "an error event later": ("chat", True, stream([*sse_chunks(ANSWER, finish=None, done=False), sse_event(_ECHO)])),
    "a broken chunk": ("chat", True, stream([b"data: " + ANSWER.encode() + b"\n\n"])),
    "no JSON": ("chat", False, play(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + ANSWER[:5].encode())),
    "a header with a secret": ("chat", False, reply_json(completion(ANSWER), 200, ("X-Key", PROVIDER_KEY))),
    "a cut": ("chat", True, stream(sse_chunks(ANSWER, finish=None, done=False), complete=False, end=End.RESET)),
    "silence": ("chat", True, hang()),
    "an unknown model": (PROMPT, False, hang()),
    "a model with a key for a name": (KEY, False, hang()),
}


@pytest.mark.parametrize("name", ENDINGS)
async def test_nothing_secret_is_written_or_passed_on(gateway: Gateway, name: str) -> None:
    model, streams, behaviour = ENDINGS[name]
    gateway.play(behaviour)
    request_id = f"secret-{name.replace(' ', '-')}"
    headers = {"X-Request-Id": request_id, "User-Agent": PROMPT}
    reply = await gateway.post(model, streams=streams, headers=headers)
    assert PROVIDER_KEY.encode() not in reply.body
    assert not any(PROVIDER_KEY in value for _, value in reply.headers)
    await until(lambda: any(event.get("request_id") == request_id for event in gateway.server.log.events()))
    await asyncio.to_thread(gateway.check_secrets)


async def test_a_key_in_the_path_or_the_query_is_not_written(gateway: Gateway) -> None:
    for path in (f"/v1/{KEY}", f"/v1/chat/completions?api_key={KEY}", f"/v1/models/{KEY}?key={KEY}"):
        async with connect(gateway.server.address) as client:
            await client.send(request_bytes("GET", path))
            assert (await client.read_reply()).status in (401, 404, 405)
    await asyncio.sleep(0.1)  # lines are written within 50 ms
    await asyncio.to_thread(gateway.check_secrets)
