"""The exact cache of the running gateway, through the official SDK: what may be shared is, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import openai
import orjson
import pytest
import pytest_asyncio

from proxy.state import SqliteReports
from tests.fakes import completion, sse_chunks
from tests.integration.gateway import (
    ADMIN_KEY,
    ANSWER,
    KEY,
    PROMPT,
    SEARCH_KEY,
    VIEWER_KEY,
    Gateway,
    chat_body,
    running_gateway,
    until,
)
from tests.integration.raw_client import RawClient, connect, request_bytes
from tests.server import Reply, ask
from tests.upstream import Behaviour, hang, reply_json, stream

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

ALIASES = "aliases: [gpt-4o-mini, org/chat-v1]"
TARGETS = "targets: [{provider: main, model: up-chat}]"
PRICED = "targets: [{provider: main, model: up-chat, price_usd_per_mtok: {input: 1, output: 2}}]"
CHANGES = {ALIASES: f"{ALIASES}\n    cache: {{exact: {{ttl: 1h}}}}", TARGETS: PRICED}
#: An answer of five tokens in and two out at these prices.
NUSD = 5 * 1000 + 2 * 2000

_numbers: Iterator[int] = count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cached(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Gateway, None]:
    async with running_gateway(tmp_path_factory.mktemp("cache"), changes=CHANGES) as gateway:
        yield gateway


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(cached: Gateway) -> AsyncGenerator[Gateway, None]:
    cached.reset()
    yield cached
    await Asker.close_all()


@pytest.fixture
def prompt() -> str:
    """One that nobody has asked before."""
    return f"{PROMPT} {next(_numbers)}"


class Asker:
    """The official SDK, and what came back with the answer."""

    opened: ClassVar[list[openai.AsyncOpenAI]] = []

    def __init__(self, gateway: Gateway, prompt: str, key: str = KEY) -> None:
        self.client = gateway.async_client(key, max_retries=0)
        self.prompt = prompt
        self.opened.append(self.client)

    @classmethod
    async def close_all(cls) -> None:
        while cls.opened:
            await cls.opened.pop().close()

    async def ask(self, headers: dict[str, str] | None = None, **fields: Any) -> tuple[str, str, Any]:
        """How the cache fared, the text, and the completion."""
        messages = [{"role": "user", "content": self.prompt}]
        raw = await self.client.chat.completions.with_raw_response.create(
            **{"model": "chat", "messages": messages, **fields},
            extra_headers=headers,
        )
        answer = raw.parse()
        return raw.headers["x-waystation-cache"], answer.choices[0].message.content or "", answer

    async def ask_stream(self, headers: dict[str, str] | None = None, **fields: Any) -> tuple[str, str, list[Any]]:
        """The same of a stream, and its chunks."""
        messages = [{"role": "user", "content": self.prompt}]
        raw = await self.client.chat.completions.with_raw_response.create(
            **{"model": "chat", "messages": messages, "stream": True, **fields},
            extra_headers=headers,
        )
        chunks = [chunk async for chunk in raw.parse()]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        return raw.headers["x-waystation-cache"], text, chunks


async def admin(gateway: Gateway, path: str, body: object = None, key: str = ADMIN_KEY) -> Reply:
    return await asyncio.to_thread(
        ask,
        f"{gateway.server.admin_url}/admin/v1/cache{path}",
        method="GET" if body is None else "POST",
        headers={"Authorization": f"Bearer {key}"},
        body=None if body is None else orjson.dumps(body),
    )


async def test_the_second_time_nobody_is_asked(gateway: Gateway, prompt: str) -> None:
    asker = Asker(gateway, prompt)
    first, text, answer = await asker.ask()
    again, same_text, same = await asker.ask(user="somebody else")
    assert (first, again) == ("miss", "exact")
    assert text == same_text == ANSWER
    assert same == answer
    assert same.usage is not None
    assert same.usage.total_tokens == 7
    assert len(gateway.main.requests) == 1


async def test_a_hit_costs_nothing_and_says_how_old_it_is(gateway: Gateway, prompt: str) -> None:
    body = chat_body(content=prompt)
    missed, hit = [await gateway.post(body=body) for _ in range(2)]
    assert missed.header("x-waystation-cost-usd") == f"{NUSD * 1e-9:.9f}"
    assert hit.header("x-waystation-cost-usd") == "0.000000000"
    assert (missed.header("age"), hit.header("age")) == (None, "0")
    assert hit.body == missed.body


async def test_a_stored_stream_is_given_as_json_and_as_a_stream(gateway: Gateway, prompt: str) -> None:
    gateway.play(stream(sse_chunks(*"quetzal", usage=(5, 2))))
    asker = Asker(gateway, prompt)
    first, text, chunks = await asker.ask_stream()
    assert (first, text) == ("miss", "quetzal")
    as_json, json_text, answer = await asker.ask()
    assert (as_json, json_text) == ("exact", "quetzal")
    assert (answer.id, answer.created, answer.model) == (chunks[0].id, chunks[0].created, chunks[0].model)
    assert answer.object == "chat.completion"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 2)
    again, same_text, _ = await asker.ask_stream()
    assert (again, same_text) == ("exact", "quetzal")
    assert len(gateway.main.requests) == 1


async def test_a_stored_json_answer_is_given_as_a_stream(gateway: Gateway, prompt: str) -> None:
    asker = Asker(gateway, prompt)
    _, _, answer = await asker.ask()
    status, text, chunks = await asker.ask_stream()
    assert (status, text) == ("exact", ANSWER)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    assert {chunk.id for chunk in chunks} == {answer.id}
    _, _, chunks = await asker.ask_stream(stream_options={"include_usage": True})
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 7
    assert len(gateway.main.requests) == 1


async def test_two_teams_never_share(gateway: Gateway, prompt: str) -> None:
    await Asker(gateway, prompt).ask()
    status, _, _ = await Asker(gateway, prompt, SEARCH_KEY).ask()
    assert status == "miss"
    assert len(gateway.main.requests) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 7},
        {"seed": 1},
        {"temperature": 0.1},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}]},
    ],
)
async def test_another_request_is_another_answer(gateway: Gateway, prompt: str, fields: dict[str, Any]) -> None:
    asker = Asker(gateway, prompt)
    await asker.ask()
    assert (await asker.ask(**fields))[0] == "miss"


@pytest.mark.parametrize("fields", [{"temperature": 0.9}, {"n": 2}, {"store": True}, {"logprobs": True}])
async def test_who_asks_for_chance_or_more_is_not_answered_from_the_cache(
    gateway: Gateway, prompt: str, fields: dict[str, Any]
) -> None:
    asker = Asker(gateway, prompt)
    assert [(await asker.ask(**fields))[0] for _ in range(2)] == ["bypass", "bypass"]
    assert len(gateway.main.requests) == 2


async def test_a_truncated_answer_is_not_kept(gateway: Gateway, prompt: str) -> None:
    gateway.play(reply_json(completion(ANSWER, finish="length")))
    asker = Asker(gateway, prompt)
    assert [(await asker.ask())[0] for _ in range(2)] == ["miss", "miss"]
    gateway.play(stream(sse_chunks("cut", finish="content_filter")))
    assert [(await asker.ask_stream())[0] for _ in range(2)] == ["miss", "miss"]


async def test_clients_have_their_say(gateway: Gateway, prompt: str) -> None:
    asker = Asker(gateway, prompt)
    with pytest.raises(openai.APIStatusError) as caught:
        await asker.ask({"cache-control": "only-if-cached"})
    assert (caught.value.status_code, caught.value.code) == (504, "cache_miss")
    assert (await asker.ask({"cache-control": "no-store"}))[0] == "bypass"
    assert (await asker.ask())[0] == "miss"
    assert (await asker.ask({"cache-control": "only-if-cached"}))[0] == "exact"
    assert (await asker.ask({"cache-control": "max-age=3600"}))[0] == "exact"
    assert (await asker.ask({"cache-control": "max-age=0"}))[0] == "bypass"
    gateway.play(reply_json(completion("newer")))
    assert (await asker.ask({"cache-control": "no-cache"}))[:2] == ("bypass", "newer")
    assert (await asker.ask())[:2] == ("exact", "newer")


async def test_operators_see_the_cache_and_empty_it(gateway: Gateway, prompt: str) -> None:
    asker = Asker(gateway, prompt)
    _, _, answer = await asker.ask()
    await asker.ask()
    seen = (await admin(gateway, "", key=VIEWER_KEY)).json()
    assert seen["exact"]["hits"] >= 1
    assert seen["memory"]["entries"] >= 1
    assert float(seen["exact"]["saved_usd"]) >= NUSD * 1e-9
    assert (await admin(gateway, "/purge", {"team": "platform"}, key=VIEWER_KEY)).status == 403
    assert (await admin(gateway, "/purge", {})).status == 400
    assert (await admin(gateway, "/purge", {"older_than": "soon"})).status == 400
    assert (await admin(gateway, "/purge", {"team": "search", "model": "chat", "older_than": "1h"})).json() == {
        "purged": 0
    }
    assert (await admin(gateway, "/purge", {"id": answer.id})).json()["purged"] >= 1
    assert (await asker.ask())[0] == "miss"
    await admin(gateway, "/purge", {"model": "chat"})
    assert (await admin(gateway, "")).json()["memory"]["entries"] == 0


async def test_the_books_say_what_was_saved(gateway: Gateway, prompt: str) -> None:
    body = chat_body(content=prompt)
    missed, hit = [await gateway.post(body=body) for _ in range(2)]
    books = SqliteReports(gateway.server.config.parent / "waystation.db")
    ids = [reply.header("x-request-id") for reply in (missed, hit)]
    await until(lambda: all(books.call(one) for one in ids if one is not None), 10)
    paid, saved = [books.call(one) for one in ids if one is not None]
    assert paid is not None
    assert saved is not None
    assert (paid.source, paid.saved_nusd, [one.cost_nusd for one in paid.attempts]) == ("upstream", 0, [NUSD])
    assert (saved.source, saved.saved_nusd, saved.attempts) == ("cache:exact", NUSD, ())


async def test_a_hundred_at_once_make_one_call(gateway: Gateway, prompt: str) -> None:
    gateway.play(stream(sse_chunks(*"quetzal", usage=(5, 2)), first_s=0.3, delay_s=0.01))
    asker = Asker(gateway, prompt)
    before = gateway.server.metrics()
    answers = await asyncio.gather(*(asker.ask_stream() for _ in range(100)))
    assert {text for _, text, _ in answers} == {"quetzal"}
    assert len(gateway.main.requests) == 1
    assert sorted(status for status, _, _ in answers).count("miss") == 1
    await until(lambda: gateway.server.metric("llm_active_requests") == 0)
    after = gateway.server.metrics()
    cost = 'llm_cost_usd_total{model="chat",provider="main",team="platform"}'
    assert round((after[cost] - before.get(cost, 0)) * 1e9) == NUSD
    assert round((after["llm_cache_saved_usd_total"] - before["llm_cache_saved_usd_total"]) * 1e9) == 99 * NUSD


async def test_a_hundred_json_calls_at_once_make_one_call(gateway: Gateway, prompt: str) -> None:
    quick = reply_json(completion(ANSWER))
    gateway.play(Behaviour((0.3, *quick.steps), quick.end))
    asker = Asker(gateway, prompt)
    answers = await asyncio.gather(*(asker.ask() for _ in range(100)))
    assert {text for _, text, _ in answers} == {ANSWER}
    assert len(gateway.main.requests) == 1
    assert {status for status, _, _ in answers} <= {"miss", "coalesced", "exact"}


async def _streaming(gateway: Gateway, client: RawClient, prompt: str) -> None:
    body = chat_body(stream=True, content=prompt)
    await client.send(request_bytes(headers={"Authorization": f"Bearer {KEY}"}, body=body))
    while not (await client.read_line()).startswith(b"data: "):
        pass


async def test_the_others_go_on_when_the_first_leaves_and_the_next_one_pays(gateway: Gateway, prompt: str) -> None:
    gateway.play(stream(sse_chunks(*"abcdefghij" * 3, usage=(5, 2)), delay_s=0.05))
    before = gateway.server.metrics()
    async with connect(gateway.server.address) as first:
        await _streaming(gateway, first, prompt)
        followers = [asyncio.create_task(Asker(gateway, prompt).ask_stream()) for _ in range(3)]
        await until(lambda: gateway.server.metric("llm_active_requests") == 4)
    answers = await asyncio.gather(*followers)
    assert {(status, text) for status, text, _ in answers} == {("coalesced", "abcdefghij" * 3)}
    assert len(gateway.main.requests) == 1
    await until(lambda: gateway.server.metric("llm_active_requests") == 0)
    after = gateway.server.metrics()
    cost = 'llm_cost_usd_total{model="chat",provider="main",team="platform"}'
    assert round((after[cost] - before.get(cost, 0)) * 1e9) == NUSD


async def test_the_provider_is_let_go_when_all_have_left(gateway: Gateway, prompt: str) -> None:
    gateway.play(stream(sse_chunks(*"abcdefghij" * 30), delay_s=0.05))
    async with connect(gateway.server.address) as first, connect(gateway.server.address) as second:
        await _streaming(gateway, first, prompt)
        await _streaming(gateway, second, prompt)
        assert len(gateway.main.requests) == 1
        link = gateway.main.links[-1]
    await until(lambda: link.closed_at is not None, 1)
    gateway.reset()
    assert (await Asker(gateway, prompt).ask())[0] == "miss"


async def test_who_waited_for_a_call_that_failed_asks_himself(gateway: Gateway, prompt: str) -> None:
    gateway.play(hang(), reply_json(completion(ANSWER)))
    async with connect(gateway.server.address) as first:
        await first.send(request_bytes(headers={"Authorization": f"Bearer {KEY}"}, body=chat_body(content=prompt)))
        await until(lambda: len(gateway.main.requests) == 1)
        status, text, _ = await Asker(gateway, prompt).ask()
        assert (await first.read_reply()).status == 504
    assert (status, text) == ("miss", ANSWER)
    assert len(gateway.main.requests) == 2


async def test_a_reload_forgets_what_its_change_makes_wrong_and_nothing_else(gateway: Gateway, prompt: str) -> None:
    asker = Asker(gateway, prompt)
    await asker.ask()
    config = gateway.server.config.read_text()
    dearer = config.replace("price_usd_per_mtok: {input: 1", "capacity: {rpm: 5000}, price_usd_per_mtok: {input: 3")
    await asyncio.to_thread(gateway.server.reload, dearer)
    assert (await asker.ask())[0] == "exact"
    await asyncio.to_thread(gateway.server.reload, dearer.replace("up-chat", "up-other"))
    assert (await admin(gateway, "")).json()["memory"]["entries"] == 0
    assert (await asker.ask())[0] == "miss"
    await asyncio.to_thread(gateway.server.reload, config)


async def test_a_spent_quota_leaves_the_cache(tmp_path: Path, prompt: str) -> None:
    quota = 'quotas: [{tokens: 20k, per: month, when_spent: cache_only}]\n    keys: [{name: ci, key: "'
    changes = CHANGES | {f'keys: [{{name: ci, key: "{KEY}"}}]': f'{quota}{KEY}"}}]'}
    async with running_gateway(tmp_path, changes=changes) as gateway:
        asker = Asker(gateway, prompt)
        assert (await asker.ask())[0] == "miss"
        gateway.play(reply_json(completion(ANSWER, usage=(19_000, 900))))
        assert (await asker.ask(seed=1, max_tokens=10))[0] == "miss"
        assert (await asker.ask())[0] == "exact"
        with pytest.raises(openai.RateLimitError) as caught:
            await asker.ask(seed=2)
        assert caught.value.code == "insufficient_quota"
        with pytest.raises(openai.RateLimitError):
            await asker.ask(seed=2, temperature=1)
        await Asker.close_all()


async def test_who_comes_when_the_beginning_is_gone_gets_an_answer_of_its_own(tmp_path: Path, prompt: str) -> None:
    words = [f"{number:05} " + "x" * 4000 for number in range(100)]
    changes = CHANGES | {"admin:": "cache: {memory: 1MB}\nadmin:"}  # an eighth of it is for all streams together
    async with running_gateway(tmp_path, changes=changes) as gateway:
        gateway.play(stream(sse_chunks(*words), delay_s=0.01))
        first = asyncio.create_task(Asker(gateway, prompt).ask_stream())
        await until(lambda: len(gateway.main.requests) == 1)
        await asyncio.sleep(0.5)
        second = await Asker(gateway, prompt).ask_stream()
        assert {text for _, text, _ in (await first, second)} == {"".join(words)}
        await Asker.close_all()
