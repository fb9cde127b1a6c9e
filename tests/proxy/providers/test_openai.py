import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from proxy.errors import (
    UpstreamAuthError,
    UpstreamError,
    UpstreamFailure,
    UpstreamMisconfigured,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from proxy.providers import Patience
from proxy.providers.dialects import DIALECTS
from proxy.providers.openai import OpenAIProvider, OpenAISettings
from proxy.wire.chat import parse_chat_request
from proxy.wire.embeddings import parse_embeddings_request
from proxy.wire.usage import Usage
from proxy.wire.vectors import floats_of
from tests.fakes import embeddings, error_body

PATIENCE = Patience(connect_s=1, first_token_s=2, idle_s=3, total_s=4)
COMPLETION = {
    "id": "c1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}


class Stream(httpx.AsyncByteStream):
    """A body that notes whether it was closed."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self.closed = True


class Upstream(httpx.AsyncBaseTransport):
    """A transport that answers with what it is given and keeps the request."""

    def __init__(self, answer: httpx.Response | Exception) -> None:
        self._answer = answer
        self.request: httpx.Request | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.request = request
        await request.aread()
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    @property
    def sent(self) -> dict[str, Any]:
        assert self.request is not None
        body: dict[str, Any] = json.loads(self.request.content)
        return body


def provider(upstream: Upstream, dialect: str = "openai", **settings: Any) -> OpenAIProvider:
    known = {"name": "p", "base_url": "http://up/v1", "dialect": DIALECTS[dialect], "credentials": ["sk-cred-123456"]}
    return OpenAIProvider(OpenAISettings(**{**known, **settings}), upstream)


def request(**fields: Any) -> Any:
    body = {"model": "chat", "messages": [{"role": "developer", "content": "Hi"}], **fields}
    return parse_chat_request(json.dumps(body).encode())


def ok(stream: Stream | None = None, kind: str = "application/json") -> httpx.Response:
    body = stream or Stream(json.dumps(COMPLETION).encode())
    return httpx.Response(200, headers={"content-type": kind}, stream=body)


async def test_a_call_is_sent_with_the_credential_the_targets_model_and_nothing_of_the_clients() -> None:
    upstream = Upstream(ok())
    answer = await provider(upstream, headers={"x-org": "7"}).answer(
        "gpt", request(top_k=5, metadata={"a": "b"}), PATIENCE
    )
    assert answer.usage == Usage(5, 2)
    assert json.loads(answer.body) == COMPLETION
    assert upstream.request is not None
    assert str(upstream.request.url) == "http://up/v1/chat/completions"
    assert dict(upstream.request.headers) == {
        "accept-encoding": "identity",
        "content-type": "application/json",
        "x-org": "7",
        "authorization": "Bearer sk-cred-123456",
    }
    assert upstream.sent["model"] == "gpt"
    assert (upstream.sent["top_k"], upstream.sent["metadata"]) == (5, {"a": "b"})
    assert "stream_options" not in upstream.sent
    assert upstream.request.extensions["timeout"] == {"connect": 1, "first_byte": None, "idle": 3, "total": 4}


@pytest.mark.parametrize("asked", [{}, {"stream_options": {"include_usage": False, "x": 1}}])
async def test_a_streams_usage_is_always_asked_for(asked: dict[str, Any]) -> None:
    events = Stream(
        b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    )
    upstream = Upstream(ok(events, "text/event-stream"))
    stream = await provider(upstream).open_stream("gpt", request(stream=True, **asked), PATIENCE)
    await stream.aclose()
    assert upstream.sent["stream_options"] == {**asked.get("stream_options", {}), "include_usage": True}
    assert upstream.request is not None
    assert upstream.request.extensions["timeout"]["connect"] == 1
    assert events.closed


@pytest.mark.parametrize(
    ("dialect", "fields", "sent"),
    [
        ("ollama", {"max_completion_tokens": 9}, {"max_tokens": 9}),
        ("deepseek", {"max_completion_tokens": 9, "max_tokens": 5}, {"max_tokens": 5}),
        ("vllm", {"max_completion_tokens": 9}, {"max_completion_tokens": 9}),
        ("openai", {"max_completion_tokens": 9}, {"max_completion_tokens": 9}),
    ],
)
async def test_a_dialects_quirks_are_met(dialect: str, fields: dict[str, int], sent: dict[str, int]) -> None:
    upstream = Upstream(ok())
    await provider(upstream, dialect).answer("gpt", request(**fields), PATIENCE)
    assert {name: value for name, value in upstream.sent.items() if name.startswith("max_")} == sent
    role = upstream.sent["messages"][0]["role"]
    assert role == ("developer" if dialect == "openai" else "system")


async def test_the_rest_of_a_cut_answer_is_asked_for_in_the_dialects_way() -> None:
    asked = replace(request(), text_so_far="Half an ans")
    by_flag, in_words = Upstream(ok()), Upstream(ok())
    await provider(by_flag, "vllm").answer("gpt", asked, PATIENCE)
    await provider(in_words, "openai").answer("gpt", asked, PATIENCE)
    assert by_flag.sent["messages"][1:] == [{"role": "assistant", "content": "Half an ans"}]
    assert (by_flag.sent["continue_final_message"], by_flag.sent["add_generation_prompt"]) == (True, False)
    assert [message["role"] for message in in_words.sent["messages"]] == ["developer", "assistant", "user"]
    assert in_words.sent["messages"][2]["content"].endswith("\nHalf an ans")
    assert "continue_final_message" not in in_words.sent
    assert len(asked.body["messages"]) == 1


async def test_the_clients_own_request_is_not_changed_by_an_attempt() -> None:
    original = request(max_completion_tokens=9)
    before = json.dumps(original.body)
    await provider(Upstream(ok()), "ollama").answer("gpt", original, PATIENCE)
    assert json.dumps(original.body) == before


async def test_a_local_server_gets_no_credential() -> None:
    upstream = Upstream(ok())
    await provider(upstream, credentials=()).answer("gpt", request(), PATIENCE)
    assert upstream.request is not None
    assert "authorization" not in upstream.request.headers


def error_response(status: int, content: bytes = b"{}", **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, stream=Stream(content))


FAILURES: list[tuple[str, Callable[[], httpx.Response | Exception], type[UpstreamFailure]]] = [
    ("refused", lambda: httpx.ConnectError("refused"), UpstreamUnavailable),
    ("unreachable", lambda: httpx.ConnectTimeout("slow"), UpstreamTimeout),
    ("silent", lambda: httpx.ReadTimeout("silent"), UpstreamTimeout),
    ("hung up", lambda: httpx.RemoteProtocolError("disconnected"), UpstreamError),
    ("cut", lambda: ok(Stream(b'{"choi', httpx.ReadError("cut"))), UpstreamError),
    ("html", lambda: ok(Stream(b"<html>"), "text/html"), UpstreamError),
    ("half", lambda: ok(Stream(b'{"id":"x","choices":[')), UpstreamError),
    ("nothing", lambda: ok(Stream()), UpstreamError),
    ("no choices", lambda: ok(Stream(b'{"id":"x","choices":[]}')), UpstreamError),
    ("error in a 200", lambda: ok(Stream(b'{"error":{"message":"m","type":"overloaded_error"}}')), UpstreamUnavailable),
    ("401", lambda: error_response(401), UpstreamAuthError),
    ("400", lambda: error_response(400), UpstreamRejected),
    ("500 with html", lambda: error_response(500, b"<html>"), UpstreamError),
    ("encoded", lambda: httpx.DecodingError("gzip"), UpstreamError),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("answer", "kind"), [(f[1], f[2]) for f in FAILURES], ids=[f[0] for f in FAILURES])
async def test_every_failure_is_named_and_the_connection_let_go(
    answer: Callable[[], httpx.Response | Exception], kind: type[UpstreamFailure], stream: bool
) -> None:
    response = answer()
    adapter = provider(Upstream(response))
    ask = adapter.open_stream if stream else adapter.answer
    with pytest.raises(kind):
        await ask("gpt", request(stream=stream), PATIENCE)
    if isinstance(response, httpx.Response):
        assert isinstance(response.stream, Stream)
        assert response.stream.closed


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("content", "is_lasting"), [(b'{"id":"x"}', True), (b'{"error":{"message":"m"}}', False)])
async def test_what_is_no_answer_is_not_worth_asking_for_again(content: bytes, is_lasting: bool, stream: bool) -> None:
    adapter = provider(Upstream(ok(Stream(content))))
    with pytest.raises(UpstreamError) as caught:
        await (adapter.open_stream if stream else adapter.answer)("gpt", request(stream=stream), PATIENCE)
    assert caught.value.is_lasting is is_lasting


async def test_a_rejection_reaches_the_caller_without_our_credential() -> None:
    content = b'{"error":{"message":"Bad key sk-cred-123456","type":"invalid_request_error","code":"x","param":"y"}}'
    with pytest.raises(UpstreamRejected) as caught:
        await provider(Upstream(error_response(400, content))).answer("gpt", request(), PATIENCE)
    assert caught.value.message == "Bad key [key]"
    assert (caught.value.code, caught.value.param) == ("x", "y")


class Turns(Upstream):
    """An upstream that answers each request with the next of its answers, and keeps the keys that were sent."""

    def __init__(self, *answers: httpx.Response) -> None:
        super().__init__(answers[0])
        self._answers = list(answers)
        self.keys: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers["authorization"].removeprefix("Bearer "))
        self._answer = self._answers.pop(0)
        return await super().handle_async_request(request)


def refused(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, stream=Stream(b'{"error":{"message":"no"}}'))


async def ask(one: OpenAIProvider) -> UpstreamFailure | None:
    try:
        await one.answer("gpt", request(), PATIENCE)
    except UpstreamFailure as failure:
        return failure
    return None


async def test_several_credentials_take_turns() -> None:
    upstream = Turns(ok(), ok(), ok())
    one = provider(upstream, credentials=["sk-one-1", "sk-two-2"])
    for _ in range(3):
        assert await ask(one) is None
    assert upstream.keys == ["sk-one-1", "sk-two-2", "sk-one-1"]


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_credential_at_fault_makes_way_for_the_next_one(status: int) -> None:
    upstream = Turns(refused(status), ok(), ok())
    one = provider(upstream, credentials=["sk-one-1", "sk-two-2"])
    failure = await ask(one)
    assert failure is not None
    assert failure.has_spare
    assert [await ask(one), await ask(one)] == [None, None]
    assert upstream.keys == ["sk-one-1", "sk-two-2", "sk-two-2"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_a_credential_refused_inside_a_200_makes_way_too(stream: bool, kind: str) -> None:
    said = b'{"error":{"message":"no","type":"authentication_error"}}'
    events = stream and kind == "text/event-stream"
    upstream = Turns(ok(Stream(b"data: " + said + b"\n\n" if events else said), kind))
    one = provider(upstream, credentials=["sk-one-1", "sk-two-2"])
    with pytest.raises(UpstreamAuthError) as caught:
        await (one.open_stream if stream else one.answer)("gpt", request(stream=stream), PATIENCE)
    assert caught.value.has_spare


async def test_when_every_credential_is_refused_the_provider_is_not_asked_any_more() -> None:
    upstream = Turns(refused(401), refused(401))
    one = provider(upstream, credentials=["sk-one-1", "sk-two-2"])
    assert (await ask(one) or UpstreamFailure("")).has_spare
    assert not (await ask(one) or UpstreamFailure("")).has_spare
    failure = await ask(one)
    assert isinstance(failure, UpstreamAuthError)
    assert len(upstream.keys) == 2


async def test_when_every_credential_is_at_its_limit_the_caller_is_told_for_how_long() -> None:
    upstream = Turns(refused(429, **{"retry-after": "9"}), refused(429, **{"retry-after": "20"}))
    one = provider(upstream, credentials=["sk-one-1", "sk-two-2"])
    await ask(one)
    last = await ask(one)
    assert last is not None
    assert last.retry_after_s == pytest.approx(9, abs=0.5)
    failure = await ask(one)
    assert isinstance(failure, UpstreamRejected)
    assert (failure.status, failure.cause) == (429, "rate_limited")
    assert failure.retry_after_s == pytest.approx(9, abs=0.5)
    assert failure.should_retry is True


async def test_a_sole_credentials_429_is_left_to_routing() -> None:
    upstream = Turns(refused(429), ok())
    one = provider(upstream)
    failure = await ask(one)
    assert failure is not None
    assert not failure.has_spare
    assert await ask(one) is None


LIMITS = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59"}


async def test_what_an_answer_says_of_the_providers_limits_comes_with_it() -> None:
    def answer() -> httpx.Response:
        return httpx.Response(200, headers=LIMITS, stream=Stream(json.dumps(COMPLETION).encode()))

    limits = (await provider(Turns(answer())).answer("gpt", request(), PATIENCE)).limits
    assert limits is not None
    assert (limits.limit_requests, limits.remaining_requests) == (60, 59)
    several = provider(Turns(answer()), credentials=["sk-one-1", "sk-two-2"])
    assert (await several.answer("gpt", request(), PATIENCE)).limits is None  # it is the credential's


async def test_an_absurd_wait_is_logged_but_not_for_every_call(caplog: pytest.LogCaptureFixture) -> None:
    waits = ["5", "31536000", "86400", "60"]
    one = provider(Turns(*(refused(429, **{"retry-after": wait}) for wait in waits)))
    for _ in waits:
        await ask(one)
    [line] = caplog.messages
    assert line.startswith("provider p asks to be left alone for 31536000 s")
    assert "60 s at most" in line


# -- embeddings --


def embedding_request(**fields: Any) -> Any:
    return parse_embeddings_request(json.dumps({"model": "embed", "input": ["a", "b"], **fields}).encode())


def embedding_answer(*vectors: list[float], status: int = 200) -> httpx.Response:
    body = json.dumps(embeddings(*vectors) if status == 200 else error_body("no")).encode()
    return httpx.Response(status, headers={"content-type": "application/json"}, stream=Stream(body))


async def test_embeddings_are_asked_for_where_they_live_and_come_as_vectors() -> None:
    upstream = Upstream(embedding_answer([0.5], [1.0]))
    answer = await provider(upstream).answer("theirs", embedding_request(dimensions=1, x=2), PATIENCE)
    assert upstream.request is not None
    assert str(upstream.request.url) == "http://up/v1/embeddings"
    assert upstream.sent == {"model": "theirs", "input": ["a", "b"], "dimensions": 1, "x": 2}
    assert answer.embeddings is not None
    assert [list(floats_of(vector)) for vector in answer.embeddings.vectors] == [[0.5], [1.0]]
    assert (answer.body, answer.usage, answer.credential_id) == (b"", Usage(5, 0), "k1")


async def test_fewer_vectors_than_inputs_are_no_answer() -> None:
    with pytest.raises(UpstreamError) as caught:
        await provider(Upstream(embedding_answer([0.5]))).answer("theirs", embedding_request(), PATIENCE)
    assert (caught.value.is_lasting, caught.value.may_be_billed) == (True, True)
    assert "holds 1 vectors for 2" in caught.value.message


@pytest.mark.parametrize("status", [403, 404])
async def test_asking_a_chat_model_for_embeddings_parks_no_credential(status: int) -> None:
    both = provider(Upstream(embedding_answer(status=status)), credentials=["sk-one-123456", "sk-two-123456"])
    with pytest.raises(UpstreamMisconfigured) as caught:
        await both.answer("theirs", embedding_request(), PATIENCE)
    assert (caught.value.is_unsuited, caught.value.has_spare, caught.value.cause) == (True, False, "unavailable")
    assert {standing for _, standing in both.standings()} == {"usable"}


async def test_a_key_that_is_refused_is_parked_for_embeddings_too() -> None:
    both = provider(Upstream(embedding_answer(status=401)), credentials=["sk-one-123456", "sk-two-123456"])
    with pytest.raises(UpstreamAuthError):
        await both.answer("theirs", embedding_request(), PATIENCE)
    assert sorted(standing for _, standing in both.standings()) == ["parked", "usable"]
