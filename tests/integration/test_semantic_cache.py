"""The cache by meaning of the running gateway, through the official SDK."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from itertools import count
from typing import Any

import orjson
import pytest
import pytest_asyncio

from tests.integration.gateway import ADMIN_KEY, ANSWER, KEY, SEARCH_KEY, Gateway, running_gateway
from tests.server import Reply, ask
from tests.upstream import reply_json

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

ALIASES = "aliases: [gpt-4o-mini, org/chat-v1]"
FALLBACK = "fallbacks: [{on: unavailable, model: spare}]"
CHANGES = {
    ALIASES: f"{ALIASES}\n    cache: {{exact: {{}}, semantic: {{mode: serve, max_error: 20%}}}}",
    FALLBACK: "fallbacks: [{on: unavailable, cache: semantic}]\n    cache: {semantic: {mode: shadow}}",
}
#: Some are asked until one is served: nothing is before there is evidence, some hits are audited, and on a machine that
#: is busy a look-up may be too late.
WORDINGS = (
    *("How can I reset my {} password?", "How do I reset my {} password?", "How could I reset my {} password?"),
    *("how can i reset my {} password", "How do I reset my {} password", "How could I reset the {} password?"),
    *("How can I reset the {} password?", "How do I reset the {} password?", "How can we reset our {} password?"),
)
MAKERS = ("Acme", "Globex", "Initech", "Umbrella", "Stark", "Wayne", "Soylent", "Tyrell", "Cyberdyne", "Aperture")
WITHIN_S = 60.0

_things: Iterator[int] = count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cached(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Gateway, None]:
    async with running_gateway(tmp_path_factory.mktemp("meaning"), changes=CHANGES) as gateway:
        until = time.monotonic() + WITHIN_S
        while (await admin(gateway)).json()["semantic"] is None:
            assert time.monotonic() < until, "the cache by meaning was not opened"
            await asyncio.sleep(0.05)
        yield gateway


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(cached: Gateway) -> Gateway:
    cached.reset()
    return cached


@pytest.fixture
def thing() -> str:
    """What nobody has asked of before."""
    return ("router", "laptop", "printer", "tablet", "camera", "phone")[next(_things)]


async def admin(gateway: Gateway) -> Reply:
    url = f"{gateway.server.admin_url}/admin/v1/cache"
    return await asyncio.to_thread(ask, url, headers={"Authorization": f"Bearer {ADMIN_KEY}"})


async def asked(gateway: Gateway, text: str, key: str = KEY, **fields: Any) -> Any:
    """The raw answer."""
    async with gateway.async_client(key, max_retries=0) as client:
        return await client.chat.completions.with_raw_response.create(
            **{"model": "chat", "messages": [{"role": "user", "content": text}], **fields}
        )


async def served(gateway: Gateway, thing: str) -> Any:
    """The first answer that came out of the cache by meaning."""
    for maker in MAKERS:
        for wording in WORDINGS:
            raw = await asked(gateway, wording.format(f"{maker} {thing}"))
            if raw.headers["x-waystation-cache"] == "semantic":
                return raw
    raise AssertionError(f"none was served: {(await admin(gateway)).json()['semantic']}")


async def test_a_question_that_means_the_same_is_answered_from_the_cache(gateway: Gateway, thing: str) -> None:
    raw = await served(gateway, thing)
    assert raw.parse().choices[0].message.content == ANSWER
    assert float(raw.headers["x-waystation-cache-probability"]) > 0.5
    assert int(raw.headers["age"]) >= 0
    assert raw.headers["x-waystation-cost-usd"] == "0.000000000"


async def test_one_that_only_looks_the_same_is_not(gateway: Gateway, thing: str) -> None:
    await served(gateway, thing)
    asks = len(gateway.main.requests)
    for text in (f"How can I not reset my {thing} password?", f"How can I reset my {thing} password 3 times?"):
        assert (await asked(gateway, text)).headers["x-waystation-cache"] == "miss"
    assert len(gateway.main.requests) == asks + 2


async def test_another_team_and_another_system_prompt_share_nothing(gateway: Gateway, thing: str) -> None:
    await served(gateway, thing)
    text = WORDINGS[0].format(f"{MAKERS[0]} {thing}")
    assert (await asked(gateway, text, SEARCH_KEY)).headers["x-waystation-cache"] == "miss"
    messages = [{"role": "system", "content": "Speak Latin."}, {"role": "user", "content": text}]
    assert (await asked(gateway, "", messages=messages)).headers["x-waystation-cache"] == "miss"


async def test_whoever_says_that_it_was_wrong_gets_another_answer(gateway: Gateway, thing: str) -> None:
    raw = await served(gateway, thing)
    reply = await asyncio.to_thread(
        ask,
        f"{gateway.server.url}/v1/cache/feedback",
        method="POST",
        headers={"Authorization": f"Bearer {KEY}"},
        body=orjson.dumps({"id": raw.headers["x-request-id"]}),
    )
    assert (reply.status, reply.json()) == (200, {"purged": 1})
    promises = (await admin(gateway)).json()["semantic"]["promises"]
    assert promises["platform chat 0.2"]["judged"] >= 1


async def test_a_model_that_is_down_falls_back_to_what_the_cache_has(gateway: Gateway, thing: str) -> None:
    first = await asked(gateway, WORDINGS[0].format(thing), model="falls-back")
    assert first.headers["x-waystation-cache"] == "miss"
    gateway.play(*[reply_json({"error": {"message": "down"}}, status=500)] * 40)
    for wording in WORDINGS[1:]:
        response = await gateway.post(body=_body(wording.format(thing)))
        if response.status == 200:
            break
    assert response.header("x-waystation-fallback") == "cache"
    assert response.header("x-waystation-cache") == "semantic"
    assert orjson.loads(response.body)["choices"][0]["message"]["content"] == ANSWER


def _body(text: str) -> bytes:
    return orjson.dumps({"model": "falls-back", "messages": [{"role": "user", "content": text}]})
