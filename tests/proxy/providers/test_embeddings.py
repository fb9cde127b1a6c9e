from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from proxy.config import ProviderConfig
from proxy.errors import (
    UpstreamAuthError,
    UpstreamError,
    UpstreamFailure,
    UpstreamMisconfigured,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from proxy.providers import build_embeddings
from proxy.providers.dialects import DIALECTS
from proxy.providers.embeddings import Embeddings
from proxy.providers.openai import OpenAISettings
from tests.upstream import ScriptedUpstream, hang, reply_json

SECRET = "sk-embeddings-1234567890"


def vectors(*rows: tuple[int, list[float]], tokens: int = 7) -> dict[str, Any]:
    data = [{"object": "embedding", "index": index, "embedding": row} for index, row in rows]
    return {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


class Wire(httpx.AsyncBaseTransport):
    """Answers with these in turn; an exception among them is raised. The last one repeats."""

    def __init__(self, *script: httpx.Response | Exception) -> None:
        self.script = [*script]
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        return step


def reply(document: object, status: int = 200, headers: dict[str, str] | None = None) -> httpx.Response:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def model(wire: Wire, *keys: str, dialect: str = "openai", base_url: str = "https://api.example/v1") -> Embeddings:
    settings = OpenAISettings("vec", base_url, DIALECTS[dialect], keys or (SECRET,), "2024-10-21", {"x-team": "a"})
    return Embeddings(settings, wire, "embed-1", 2.0)


async def test_texts_are_asked_for_as_openai_wants_them() -> None:
    wire = Wire(reply(vectors((1, [3, 4.5]), (0, [1.0, 2.0]))))
    embeddings = model(wire)
    assert await embeddings.ask(["a", "b"]) == [[1.0, 2.0], [3, 4.5]]
    (request,) = wire.requests
    assert str(request.url) == "https://api.example/v1/embeddings"
    assert json.loads(request.content) == {"model": "embed-1", "input": ["a", "b"]}
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.headers["x-team"] == "a"
    assert set(request.extensions["timeout"].values()) == {2.0}


async def test_azure_has_its_deployment_in_the_path_and_its_own_header() -> None:
    wire = Wire(reply(vectors((0, [1.0]))))
    await model(wire, dialect="azure", base_url="https://a.openai.azure.com").ask(["a"])
    (request,) = wire.requests
    assert str(request.url) == (
        "https://a.openai.azure.com/openai/deployments/embed-1/embeddings?api-version=2024-10-21"
    )
    assert request.headers["api-key"] == SECRET


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>",
        [],
        {},
        {"data": []},
        {"data": [1, 2]},
        vectors((0, [1.0])),
        vectors((0, [1.0]), (0, [1.0])),
        vectors((0, [1.0]), (2, [1.0])),
        {"data": [{"embedding": "AACAPw=="}, {"embedding": [1.0]}]},
        {"data": [{"embedding": None}, {"embedding": [1.0]}]},
        {"data": [{"index": "0", "embedding": [1.0]}, {"embedding": [1.0]}]},
    ],
)
async def test_what_has_no_vectors_for_the_texts_is_a_failure(document: object) -> None:
    with pytest.raises(UpstreamError, match="without the vectors"):
        await model(Wire(reply(document))).ask(["a", "b"])


async def test_rows_without_index_are_in_order() -> None:
    embeddings = model(Wire(reply({"data": [{"embedding": [1.0]}, {"embedding": [2.0]}]})))
    assert await embeddings.ask(["a", "b"]) == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (reply({"error": {"message": "no"}}, 500), UpstreamError),
        (reply(b"oops", 503), UpstreamUnavailable),
        (reply({"error": {"message": "gone"}}, 404), UpstreamMisconfigured),
        (reply(b"", 302, {"location": "https://elsewhere.example"}), UpstreamMisconfigured),
        (reply({"error": {"message": f"bad key {SECRET}", "type": "authentication_error"}}), UpstreamAuthError),
        (httpx.ConnectError("no connection"), UpstreamUnavailable),
        (httpx.ReadTimeout("late"), UpstreamTimeout),
    ],
)
async def test_failures_are_named_and_hold_no_secret(
    answer: httpx.Response | Exception, failure: type[UpstreamFailure]
) -> None:
    wire = Wire(answer)
    with pytest.raises(failure) as caught:
        await model(wire).ask(["a"])
    assert SECRET not in str(caught.value)
    assert len(wire.requests) == 1


async def test_a_refused_credential_is_left_out_and_the_other_is_used() -> None:
    wire = Wire(reply({"error": {"message": "no"}}, 401), reply(vectors((0, [1.0]))))
    embeddings = model(wire, "sk-one-1234567890", "sk-two-1234567890")
    with pytest.raises(UpstreamAuthError):
        await embeddings.ask(["a"])
    for _ in range(2):
        wire.script = [reply(vectors((0, [1.0])))]
        await embeddings.ask(["a"])
    used = [request.headers["authorization"] for request in wire.requests]
    assert used == ["Bearer sk-one-1234567890", *["Bearer sk-two-1234567890"] * 2]


async def test_a_provider_at_its_limit_is_not_asked_for_a_while() -> None:
    wire = Wire(reply({"error": {"message": "slow down"}}, 429, {"retry-after": "30"}))
    embeddings = model(wire)
    for _ in range(3):
        with pytest.raises(UpstreamFailure):
            await embeddings.ask(["a"])
    assert len(wire.requests) == 1


async def test_a_real_server_is_asked_over_the_configured_transport() -> None:
    async with ScriptedUpstream(reply_json(vectors((0, [0.5, 0.25])))) as upstream:
        settings = ProviderConfig.model_validate({"kind": "openai", "base_url": f"{upstream.url}/v1"})
        embeddings = build_embeddings("local", settings, "m", 5.0)
        assert await embeddings.ask(["a"]) == [[0.5, 0.25]]
        await embeddings.aclose()
    assert upstream.requests[0].target == "/v1/embeddings"
    assert upstream.requests[0].header("authorization") is None


async def test_a_server_that_never_answers_is_given_up() -> None:
    async with ScriptedUpstream(hang()) as upstream:
        settings = ProviderConfig.model_validate({"kind": "openai", "base_url": f"{upstream.url}/v1"})
        embeddings = build_embeddings("local", settings, "m", 0.05)
        with pytest.raises(UpstreamTimeout):
            await embeddings.ask(["a"])
        await upstream.all_closed()
        await embeddings.aclose()
