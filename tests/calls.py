"""Calls, and fakes for what stands around the chain: a scripted provider, a client on the other end of an exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

import orjson

from proxy.call import Call, Principal
from proxy.providers import Patience
from proxy.wire.answer import ChatAnswer
from proxy.wire.chat import ChatRequest
from proxy.wire.embeddings import EmbeddingsRequest, Input, parse_embeddings_request
from proxy.wire.usage import Usage
from routing import RateLimits

TEAM = Principal("search", "ci", None)
PATIENCE = Patience(connect_s=1, first_token_s=5, idle_s=5, total_s=60)


def chat_request(model: str = "chat", *, stream: bool = False) -> ChatRequest:
    body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    if stream:
        body["stream"] = True
    return ChatRequest(body=body, model=model, stream=stream, include_usage=False, n=1)


def embeddings_request(*inputs: Input, model: str = "chat", **fields: Any) -> EmbeddingsRequest:
    """As its parser would make it."""
    value: object = inputs[0] if len(inputs) == 1 else list(inputs)
    return parse_embeddings_request(orjson.dumps({"model": model, "input": value, **fields}))


def an_embeddings_call(*inputs: Input, principal: Principal | None = TEAM, **fields: Any) -> Call:
    """A call for embeddings as auth would hand it on."""
    call = a_call(principal=principal)
    call.request = embeddings_request(*inputs or ["Hello"], **fields)
    call.id = call.request_id = f"req_{id(call)}"
    return call


def a_call(
    model: str = "chat",
    *,
    stream: bool = False,
    headers: dict[bytes, bytes] | None = None,
    principal: Principal | None = TEAM,
    received_at: float = 0.0,
) -> Call:
    """A call as auth would hand it on."""
    call = Call("req_1", "req_1", received_at, headers or {}, chat_request(model, stream=stream))
    call.model, call.principal = model, principal
    return call


class ScriptedStream:
    """A ChatStream that gives these blocks; an exception among them is raised in its turn, a float is slept."""

    def __init__(self, script: Sequence[bytes | Exception | float], usage: Usage | None = None) -> None:
        self._steps = iter(script)
        self.usage = usage
        self.limits: RateLimits | None = None
        self.goes_on_exactly = False
        self.credential_id = "k1"
        self.id: object = "chatcmpl-1"
        self.service_tier: object = None
        self.produced_tokens = 0
        self.closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, bytes):
                return step
            await asyncio.sleep(step)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


class ScriptedProvider:
    """A Provider that answers each attempt with the next step of its script; the last one repeats."""

    def __init__(self, name: str, script: Sequence[ChatAnswer | ScriptedStream | Exception]) -> None:
        self.name = name
        self._script = list(script)
        self.asked: list[str] = []
        self.requests: list[ChatRequest] = []
        self.patience: list[Patience] = []
        self.closed = False

    def _next(self, model: str, request: ChatRequest, patience: Patience) -> ChatAnswer | ScriptedStream:
        self.asked.append(model)
        self.requests.append(request)
        self.patience.append(patience)
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, Exception):
            raise step
        return step

    async def answer(self, model: str, request: ChatRequest, patience: Patience) -> ChatAnswer:
        answer = self._next(model, request, patience)
        assert isinstance(answer, ChatAnswer)
        return answer

    async def open_stream(self, model: str, request: ChatRequest, patience: Patience) -> ScriptedStream:
        stream = self._next(model, request, patience)
        assert isinstance(stream, ScriptedStream)
        return stream

    def standings(self) -> Sequence[tuple[str, str]]:
        return [("k1", "usable")]

    async def aclose(self) -> None:
        self.closed = True


class Client:
    """The other end of an exchange: what it was sent, and when it leaves."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._gone = asyncio.Event()

    def leave(self) -> None:
        self._gone.set()

    async def receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.messages.append(dict(message))

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def is_complete(self) -> bool:
        last = self.messages[-1]
        return last["type"] == "http.response.body" and not last.get("more_body", False)


def never() -> Callable[[Call], Awaitable[Any]]:
    """A handler that waits for ever."""

    async def handle(call: Call) -> Any:
        await asyncio.Event().wait()

    return handle
