"""Embeddings through the running gateway and the official SDK: what the upstream gives comes as it was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import openai
import orjson
import pytest
import pytest_asyncio
from openai import OpenAI
from openai.types import CreateEmbeddingResponse

from proxy.state import SqliteReports
from tests.fakes import embeddings, error_body
from tests.integration.gateway import ADMIN_KEY, KEY, PROMPT, SEARCH_KEY, Gateway, running_gateway, until
from tests.integration.raw_client import connect, request_bytes
from tests.server import ask
from tests.upstream import Behaviour, head, reply_json

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

ALIASES = "aliases: [gpt-4o-mini, org/chat-v1]"
TARGETS = "targets: [{provider: main, model: up-chat}]"
PRICED = "targets: [{provider: main, model: up-chat, price_usd_per_mtok: {input: 1, output: 0}}]"
#: `chat` joins calls, `falls-back` and all others have caches and prices as they were.
CHANGES = {
    ALIASES: f"{ALIASES}\n    embeddings: {{batch_window: 30s}}",
    TARGETS: PRICED,
    "rescued:": "cached:\n    cache: {exact: {ttl: 1h}}\n    "
    "targets: [{provider: main, model: up-one, price_usd_per_mtok: {input: 1, output: 0}}]\n  rescued:",
}
A, B, C = [0.25, -1.5, 3.0], [0.5, 2.0, 0.125], [-0.75, 0.0, 1.0]
Result = TypeVar("Result")
Answered = tuple[dict[str, str], CreateEmbeddingResponse]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def embedding(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Gateway, None]:
    async with running_gateway(tmp_path_factory.mktemp("embeddings"), changes=CHANGES) as gateway:
        yield gateway


@pytest.fixture
def gateway(embedding: Gateway) -> Gateway:
    embedding.reset()
    return embedding


async def in_thread(gateway: Gateway, use: Callable[[OpenAI], Result]) -> Result:
    """The synchronous client, on a thread: the providers answer from this one."""

    def run() -> Result:
        with gateway.client(max_retries=0) as client:
            return use(client)

    return await asyncio.to_thread(run)


async def create(gateway: Gateway, texts: Any, **options: Any) -> Answered:
    """The asynchronous client: headers, and the answer."""
    key = options.pop("key", KEY)
    async with gateway.async_client(key, max_retries=0) as client:
        raw = await client.embeddings.with_raw_response.create(**{"model": "chat", "input": texts, **options})
        return dict(raw.headers), raw.parse()


def vectors(answer: CreateEmbeddingResponse) -> list[list[float]]:
    assert [one.index for one in answer.data] == list(range(len(answer.data)))
    return [one.embedding for one in answer.data]


async def post(gateway: Gateway, body: object) -> Any:
    async with connect(gateway.server.address) as client:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        await client.send(request_bytes(path="/v1/embeddings", headers=headers, body=orjson.dumps(body)))
        return await client.read_reply()


@pytest.mark.parametrize("as_base64", [True, False])
async def test_the_sdks_get_their_vectors_whatever_form_the_upstream_gives(gateway: Gateway, as_base64: bool) -> None:
    gateway.play(reply_json(embeddings(A, B, as_base64=as_base64)))
    headers, answer = await create(gateway, [PROMPT, "b"], dimensions=3)
    assert vectors(answer) == [A, B]
    assert (answer.model, answer.usage.prompt_tokens, answer.usage.total_tokens) == ("upstream-embed", 5, 5)
    assert headers["x-waystation-provider"] == "main"
    assert headers["x-waystation-cost-usd"] == "0.000005000"
    sent = gateway.main.requests[0]
    assert sent.target == "/v1/embeddings"
    assert sent.json() == {
        "model": "up-chat",
        "input": [PROMPT, "b"],
        "dimensions": 3,
        "encoding_format": "base64",
    }
    for form in ({}, {"encoding_format": "float"}):
        found = await in_thread(gateway, lambda client, form=form: _create(client, **form))  # type: ignore[misc]
        assert vectors(found) == [A, B]


def _create(client: OpenAI, **options: Any) -> CreateEmbeddingResponse:
    return client.embeddings.create(model="chat", input=[PROMPT, "b"], **options)


@pytest.mark.parametrize("came", [True, False])
@pytest.mark.parametrize(("asked", "kind"), [("base64", str), ("float", list), (None, list)])
async def test_on_the_wire_it_is_what_was_asked_for(
    gateway: Gateway, came: bool, asked: str | None, kind: type
) -> None:
    gateway.play(reply_json(embeddings(A, B, as_base64=came)))
    reply = await post(gateway, {"model": "chat", "input": ["a", "b"], "encoding_format": asked})
    assert reply.status == 200
    assert orjson.loads(reply.body) == embeddings(A, B, as_base64=kind is str)


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[1, 2], [3]]])
async def test_tokens_are_inputs_too(gateway: Gateway, tokens: list[Any]) -> None:
    count = len(tokens) if isinstance(tokens[0], list) else 1
    gateway.play(reply_json(embeddings(*[A, B][:count])))
    _, answer = await create(gateway, tokens)
    assert vectors(answer) == [A, B][:count]
    assert gateway.main.requests[0].json()["input"] == tokens


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        ("", "empty_string"),
        ([], "empty_array"),
        ([PROMPT, ""], "empty_string"),
        (["x"] * 2049, "array_above_max_length"),
        ([1, "a"], "invalid_type"),
    ],
)
async def test_a_wrong_input_is_refused_as_openai_does(gateway: Gateway, texts: Any, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await create(gateway, texts)
    assert caught.value.code == code
    assert str(caught.value.param).startswith("input")
    assert gateway.asked == 0


async def test_a_target_that_fails_makes_way_for_the_next(gateway: Gateway) -> None:
    gateway.play(reply_json(error_body(), 500), reply_json(embeddings(A)))
    headers, answer = await create(gateway, PROMPT, model="pair")
    assert (vectors(answer), headers["x-waystation-attempts"]) == ([A], "2")
    assert {request.json()["model"] for request in gateway.main.requests} == {"up-one", "up-two"}


async def test_a_fallbacks_vectors_are_never_given(gateway: Gateway) -> None:
    gateway.play(reply_json(error_body(), 500))
    with pytest.raises(openai.InternalServerError):
        await create(gateway, PROMPT, model="falls-back")
    assert gateway.spare.requests == []


@pytest.mark.parametrize("status", [403, 404])
async def test_asking_a_chat_model_harms_nobody_elses_chat(gateway: Gateway, status: int) -> None:
    gateway.play(reply_json(error_body("You are not allowed to generate embeddings from this model"), status))
    for _ in range(30):
        with pytest.raises(openai.InternalServerError) as caught:
            await create(gateway, PROMPT)
        assert caught.value.code == "upstream_misconfigured"
    gateway.reset()
    assert (await gateway.post()).status == 200


async def test_keys_and_teams_are_minded(gateway: Gateway) -> None:
    with pytest.raises(openai.AuthenticationError):
        await create(gateway, PROMPT, key="sk-way-nobody")
    with pytest.raises(openai.PermissionDeniedError):
        await create(gateway, PROMPT, key=SEARCH_KEY, model="pair")
    with pytest.raises(openai.NotFoundError):
        await create(gateway, PROMPT, model="nothing")
    assert gateway.asked == 0


async def test_the_simulated_provider_answers_too(gateway: Gateway) -> None:
    _, first = await create(gateway, PROMPT, model="sim")
    _, again = await create(gateway, [PROMPT, "b"], model="sim")
    assert len(first.data[0].embedding) == 1536
    assert vectors(again)[0] == vectors(first)[0]
    assert first.usage.prompt_tokens > 0


# -- the cache --


async def test_only_what_is_new_is_asked_for(gateway: Gateway) -> None:
    gateway.play(reply_json(embeddings(A, B, tokens=8)))
    headers, answer = await create(gateway, ["one", "two"], model="cached")
    assert (headers["x-waystation-cache"], vectors(answer)) == ("miss", [A, B])
    gateway.play(reply_json(embeddings(C, tokens=3)))
    headers, answer = await create(gateway, ["two", "three", "one"], model="cached", encoding_format="float")
    assert (headers["x-waystation-cache"], vectors(answer), answer.usage.prompt_tokens) == ("miss", [B, C, A], 11)
    assert headers["x-waystation-cost-usd"] == "0.000003000"
    headers, answer = await create(gateway, "three", model="cached")
    assert (headers["x-waystation-cache"], vectors(answer), answer.usage.prompt_tokens) == ("exact", [C], 3)
    assert (headers["x-waystation-cost-usd"], headers["age"]) == ("0.000000000", "0")
    assert [request.json()["input"] for request in gateway.main.requests] == [["one", "two"], ["three"]]
    books = SqliteReports(gateway.server.config.parent / "waystation.db")
    call_id = headers["x-request-id"]
    await until(lambda: books.call(call_id) is not None, 10)
    booked = books.call(call_id)
    assert booked is not None
    assert (booked.source, booked.saved_nusd, booked.attempts) == ("cache:exact", 3000, ())


async def test_operators_empty_it(gateway: Gateway) -> None:
    gateway.play(reply_json(embeddings(A)))
    await create(gateway, "purged", model="cached")
    reply = await asyncio.to_thread(
        ask,
        f"{gateway.server.admin_url}/admin/v1/cache/purge",
        method="POST",
        headers={"Authorization": f"Bearer {ADMIN_KEY}"},
        body=orjson.dumps({"model": "cached"}),
    )
    assert reply.json()["purged"] >= 1
    headers, _ = await create(gateway, "purged", model="cached")
    assert headers["x-waystation-cache"] == "miss"


# -- calls that go together --


class Held:
    """Steps of a behaviour: nothing until it is let go, then the answer."""

    def __init__(self, document: object) -> None:
        body = orjson.dumps(document)
        self._answer = head(200, ("Content-Type", "application/json"), ("Content-Length", str(len(body)))) + body
        self.is_held = True

    def __iter__(self) -> Iterator[bytes | float]:
        while self.is_held:
            yield 0.005
        yield self._answer

    def behaviour(self) -> Behaviour:
        return Behaviour(cast("tuple[bytes | float, ...]", self))


async def asked_by(gateway: Gateway, count: int) -> None:
    await until(lambda: len(gateway.main.requests) >= count, 10)


def cost_nusd(headers: dict[str, str]) -> int:
    return round(float(headers["x-waystation-cost-usd"]) * 1e9)


async def together(gateway: Gateway, texts: Sequence[str], *script: Behaviour) -> list[asyncio.Task[Answered]]:
    """One call goes first; the others, which come while it is under way, have just gone when this returns."""
    held = Held(embeddings(A))
    gateway.play(held.behaviour(), *script)
    first = asyncio.create_task(create(gateway, "first"))
    await asked_by(gateway, 1)
    others = [asyncio.create_task(create(gateway, text)) for text in texts]
    await until(lambda: gateway.server.metric("llm_active_requests") == 1 + len(texts), 20)
    held.is_held = False
    await first
    await asked_by(gateway, 2)
    return others


async def test_calls_that_come_meanwhile_go_together_and_pay_apart(gateway: Gateway) -> None:
    texts = ["one", "two", "three", "four"]
    made = [[float(number), 0.5, 1.0] for number in range(4)]
    found = await asyncio.gather(*await together(gateway, texts, reply_json(embeddings(*made, tokens=11))))
    assert len(gateway.main.requests) == 2
    sent = gateway.main.requests[1].json()
    assert sorted(sent["input"]) == sorted(texts)
    answers = dict(zip(texts, found, strict=True))
    total = paid = 0
    for text, vector in zip(sent["input"], made, strict=True):
        headers, answer = answers[text]
        assert vectors(answer) == [vector]
        assert cost_nusd(headers) > 0
        total, paid = total + answer.usage.prompt_tokens, paid + cost_nusd(headers)
    assert (total, paid) == (11, 11_000)
    books = SqliteReports(gateway.server.config.parent / "waystation.db")
    ids = [headers["x-request-id"] for headers, _ in found]
    await until(lambda: all(books.call(one) for one in ids), 10)
    attempts = [attempt for one in ids if (call := books.call(one)) is not None for attempt in call.attempts]
    assert [attempt.metering for attempt in attempts] == ["reported"] * 4
    assert sum(attempt.cost_nusd for attempt in attempts) == 11_000
    assert sum(attempt.tokens for attempt in attempts) == 11


async def test_one_bad_input_fails_its_own_call_alone(gateway: Gateway) -> None:
    bad = reply_json(error_body("This input is too long.", "invalid_request_error"), 400)
    script = bad, reply_json(embeddings(B)), bad, reply_json(embeddings(B))
    found = await asyncio.gather(*await together(gateway, ["one", "two", "three"], *script), return_exceptions=True)
    assert len(gateway.main.requests) == 5
    refused = [one for one in found if isinstance(one, openai.BadRequestError)]
    assert len(refused) == 1
    assert [vectors(one[1]) for one in found if not isinstance(one, BaseException)] == [[B], [B]]


async def test_a_client_that_leaves_takes_nobody_with_it(gateway: Gateway) -> None:
    held = Held(embeddings(A, B, C))
    left, *stayed = await together(gateway, ["one", "two", "three"], held.behaviour())
    left.cancel()
    await until(lambda: gateway.server.metric("llm_active_requests") == 2)
    held.is_held = False
    answers = await asyncio.gather(*stayed)
    order = gateway.main.requests[1].json()["input"]
    for text, (_, answer) in zip(("two", "three"), answers, strict=True):
        assert vectors(answer) == [[A, B, C][order.index(text)]]
    await until(lambda: gateway.server.metric("llm_active_requests") == 0)
