import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.accounting import TokenCounter
from proxy.api import tokens
from tests.gateways import CONFIG, OTHER_KEY, Rig, chat_body

MODELS = """
models:
  smart: {aliases: [default-smart], targets: [{provider: demo, model: gpt-4o}, {provider: demo, model: claude-3}]}
"""


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    rig = Rig(CONFIG.replace("\nmodels:\n", MODELS).replace("models: [chat]", "models: [chat, smart]"))
    yield rig
    rig.gateway._lasting.tokens.close()


async def ask(rig: Rig, body: object, **options: Any) -> tuple[int, dict[str, Any]]:
    async with rig.client(**options) as client:
        response = await client.post("/api/count-tokens", json=body)
    return response.status_code, response.json()


async def test_messages_are_counted_as_their_models_first_target_does(rig: Rig) -> None:
    status, answer = await ask(rig, chat_body("default-smart"))
    assert (status, answer) == (200, {"model": "default-smart", "input_tokens": 8, "method": "tokenizer"})


async def test_a_model_of_another_family_is_counted_by_ratio(rig: Rig) -> None:
    status, answer = await ask(rig, chat_body("chat"))
    assert (status, answer) == (200, {"model": "chat", "input_tokens": 9, "method": "ratio"})


@pytest.mark.parametrize("name", ["text", "prompt", "input"])
@pytest.mark.parametrize(("value", "count"), [("tiktoken is great!", 6), (["tiktoken", " is great!"], 6), ([], 0)])
async def test_a_text_is_counted_under_any_of_its_names(rig: Rig, name: str, value: object, count: int) -> None:
    status, answer = await ask(rig, {"model": "smart", name: value})
    assert (status, answer["input_tokens"]) == (200, count)


async def test_images_are_said_to_be_left_out(rig: Rig) -> None:
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    status, answer = await ask(rig, chat_body("smart", messages=[{"role": "user", "content": parts}]))
    assert (status, answer["uncounted_parts"]) == (200, 1)


async def test_a_megabyte_is_counted(rig: Rig) -> None:
    status, answer = await ask(rig, {"model": "smart", "text": "word " * 200_000})
    assert (status, answer["method"]) == (200, "tokenizer")
    assert answer["input_tokens"] == 200_001


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ([], 400, None),
        ({}, 400, "model"),
        ({"model": 5, "text": "x"}, 400, "model"),
        ({"model": "chat"}, 400, "messages"),
        ({"model": "chat", "text": {"a": 1}}, 400, "text"),
        ({"model": "chat", "input": [[1, 2]]}, 400, "input"),
        ({"model": "chat", "messages": []}, 400, "messages"),
        ({"model": "chat", "messages": [{"content": "x"}]}, 400, "messages[0].role"),
        ({"model": "nonsense", "text": "x"}, 404, "model"),
        ({"model": "large", "text": "x"}, 403, "model"),
    ],
)
async def test_what_cannot_be_counted_is_refused_in_openais_shape(
    rig: Rig, body: object, status: int, param: str | None
) -> None:
    found, answer = await ask(rig, body)
    assert (found, answer["error"]["param"]) == (status, param)
    assert set(answer["error"]) == {"message", "type", "param", "code"}


async def test_a_body_over_the_limit_is_refused() -> None:
    rig = Rig(CONFIG + "server: {max_body: 1KB}\n")
    status, answer = await ask(rig, {"model": "chat", "text": "x" * 2_000})
    assert (status, answer["error"]["code"]) == (413, "request_too_large")


async def test_without_a_key_nothing_is_counted_and_another_teams_key_sees_its_own_models(rig: Rig) -> None:
    assert (await ask(rig, {"model": "chat", "text": "x"}, key=None))[0] == 401
    assert (await ask(rig, {"model": "large", "text": "x"}, key=OTHER_KEY))[0] == 200


async def test_a_tokenizer_that_takes_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: TokenCounter, *encodings: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(TokenCounter, "load", never)
    monkeypatch.setattr(tokens, "_LOAD_S", 0.0)
    rig = Rig(CONFIG.replace("demo-1", "gpt-4"))
    status, answer = await ask(rig, chat_body("chat"))
    assert (status, answer["method"]) == (200, "ratio")
    rig.gateway._lasting.tokens.close()
