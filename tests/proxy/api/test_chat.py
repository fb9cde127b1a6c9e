import json

import pytest

from tests.gateways import KEY, OTHER_KEY, Rig, chat_body

CHAT = "/v1/chat/completions"


async def test_a_chat_request_is_answered_and_logged_once() -> None:
    rig = Rig()
    async with rig.client() as client:
        response = await client.post(CHAT, json=chat_body("default"), headers={"x-request-id": "mine"})
    assert response.status_code == 200
    assert response.json()["choices"][0]["message"]["role"] == "assistant"
    assert response.headers["x-request-id"] == "mine"
    assert response.headers["x-waystation-model"] == "demo-1"
    [line] = rig.log.lines
    assert (line["request_id"], line["model"], line["team"], line["status"]) == ("mine", "chat", "search", 200)
    assert line["id"] != "mine"
    assert line["output_tokens"] > 0
    assert rig.gateway.exchanges == set()


async def test_a_stream_is_answered_as_events_that_end_with_done() -> None:
    rig = Rig()
    async with rig.client() as client:
        response = await client.post(CHAT, json=chat_body(stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [line for line in response.text.split("\n\n") if line]
    assert events[-1] == "data: [DONE]"
    assert all("choices" in json.loads(event.removeprefix("data: ")) for event in events[:-1])
    assert "usage" not in response.text
    assert rig.log.lines[0]["output_tokens"] > 0


@pytest.mark.parametrize(
    ("content", "status", "param"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b'{"model": "chat", "model": "large", "messages": []}', 400, "model"),
        (b'{"model": "chat"}', 400, "messages"),
        (b'{"model": 7, "messages": [{"role": "user"}]}', 400, "model"),
        (b'{"model": "chat", "messages": [{"role": "user"}], "temperature": NaN}', 400, None),
    ],
)
async def test_a_bad_body_is_refused_before_it_becomes_a_call(content: bytes, status: int, param: str | None) -> None:
    rig = Rig()
    async with rig.client() as client:
        response = await client.post(CHAT, content=content, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert response.json()["error"]["param"] == param
    assert [line["event"] for line in rig.log.lines] == ["refused"]


@pytest.mark.parametrize(
    ("key", "model", "status", "code"),
    [
        (None, "chat", 401, "invalid_api_key"),
        ("sk-way-wrong", "chat", 401, "invalid_api_key"),
        (KEY, "large", 403, "model_not_allowed"),
        (KEY, "nonsense", 404, "model_not_found"),
        (OTHER_KEY, "large", 200, None),
    ],
)
async def test_a_team_gets_what_it_may(key: str | None, model: str, status: int, code: str | None) -> None:
    async with Rig().client(key) as client:
        response = await client.post(CHAT, json=chat_body(model))
    assert response.status_code == status
    if code is not None:
        assert response.json()["error"]["code"] == code


async def test_a_body_over_the_limit_is_refused() -> None:
    async with Rig("server: {max_body: 2KB}\n" + Rig().text).client() as client:
        response = await client.post(CHAT, json=chat_body(user="x" * 3000))
    assert response.status_code == 413
    assert "2,000 bytes" in response.json()["error"]["message"]


async def test_a_large_body_of_a_strangers_is_not_read() -> None:
    async with Rig().client("sk-way-wrong") as client:
        response = await client.post(CHAT, json=chat_body(user="x" * 100_000))
    assert response.status_code == 401


async def test_a_stranger_is_told_that_its_key_is_wrong_and_not_what_else_is() -> None:
    async with Rig().client("sk-way-wrong") as client:
        assert (await client.post(CHAT, json={})).status_code == 401
