"""The adapter for OpenAI and everything that speaks its chat completions: encodes calls, decodes answers, names
failures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from proxy.errors import UpstreamError, UpstreamFailure
from proxy.providers.base import ChatStream, Patience
from proxy.providers.dialects import Dialect, chat_url
from proxy.providers.failures import Scrubber, classify, classify_inside
from proxy.providers.sse import SSEStream, read_body
from proxy.providers.transport import URL, Content, Headers, Request, Response, Transport, let_go
from proxy.providers.transport.errors import TransportError, name_failure
from proxy.wire.answer import ChatAnswer, ErrorAnswer, MalformedAnswer, read_chat_answer
from proxy.wire.chat import ChatRequest
from proxy.wire.failure import read_error

#: No answer of a chat model is larger; more than this is not read into memory.
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_MAX_ERROR_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class OpenAISettings:
    """What an adapter needs to know of its provider."""

    name: str
    base_url: str
    dialect: Dialect
    credential: str | None
    api_version: str = ""
    headers: Mapping[str, str] | None = None


class OpenAIProvider:
    """One provider that speaks OpenAI's dialect, over any httpx transport."""

    def __init__(self, settings: OpenAISettings, transport: Transport) -> None:
        self._settings = settings
        self.name = settings.name
        self._dialect = settings.dialect
        self._transport = transport
        self._scrub = Scrubber([settings.credential or "", *(settings.headers or {}).values()], settings.base_url)
        self._urls: dict[str, URL] = {}  # by model; as many as the config has targets here
        # Everything but Content-Length is known now. Host comes with the first URL: all of them share it.
        headers = [
            ("accept-encoding", "identity"),
            ("content-type", "application/json"),
            *(settings.headers or {}).items(),
        ]
        if settings.credential is not None:
            headers.append((settings.dialect.key_header, settings.dialect.key_prefix + settings.credential))
        self._headers = Headers([(name.encode(), value.encode()) for name, value in headers])

    async def answer(self, model: str, request: ChatRequest, patience: Patience) -> ChatAnswer:
        """See `Provider.answer`."""
        # The first byte of a whole answer comes with its last: only the total bounds the wait.
        timeout = {
            "connect": patience.connect_s,
            "first_byte": None,
            "idle": patience.idle_s,
            "total": patience.total_s,
        }
        response = await self._send(model, self._encode(model, request), timeout)
        try:
            if response.status_code != 200:
                raise await self._refusal(response)
            body = await read_body(response, _MAX_ANSWER_BYTES)
            return read_chat_answer(body)
        except ErrorAnswer as answer:
            raise classify_inside(self.name, answer.error, self._scrub) from answer
        except MalformedAnswer as error:
            raise UpstreamError(
                f"Provider '{self.name}' sent an answer that is no chat completion: {error}."
            ) from error
        except TransportError as error:
            raise name_failure(error, self.name) from error
        finally:
            await let_go(response)

    async def open_stream(self, model: str, request: ChatRequest, patience: Patience) -> ChatStream:
        """See `Provider.open_stream`."""
        timeout = {
            "connect": patience.connect_s,
            "first_byte": patience.first_token_s,
            "idle": patience.idle_s,
            "total": patience.total_s,
        }
        response = await self._send(model, self._encode(model, request), timeout)
        opened = False
        try:
            if response.status_code != 200:
                raise await self._refusal(response)
            if "text/event-stream" not in response.headers.get("content-type", "").lower():
                raise UpstreamError(f"Provider '{self.name}' was asked for a stream and sent something else.")
            stream = SSEStream(self.name, response, request, patience, self._scrub)
            await stream.begin()
            opened = True
        except TransportError as error:
            raise name_failure(error, self.name) from error
        finally:
            if not opened:
                await let_go(response)
        return stream

    async def aclose(self) -> None:
        """See `Provider.aclose`."""
        await self._transport.aclose()

    async def _send(self, model: str, body: bytes, timeouts: Mapping[str, float | None]) -> Response:
        # A stream costs httpx 1.6 µs to wrap, the same bytes as content 7.7 µs; the transport adds Content-Length.
        request = Request(
            "POST",
            self._urls.get(model) or self._make_url(model),
            headers=self._headers,
            stream=Content(body),
            extensions={"timeout": timeouts},
        )
        try:
            return await self._transport.handle_async_request(request)
        except TransportError as error:
            raise name_failure(error, self.name) from error

    def _make_url(self, model: str) -> URL:
        settings = self._settings
        url = URL(chat_url(settings.dialect, settings.base_url, model, settings.api_version))
        self._urls[model] = url
        return url

    def _encode(self, model: str, request: ChatRequest) -> bytes:
        body = {**request.body, "model": model}
        dialect = self._dialect
        if request.stream and dialect.stream_usage:
            options = body.get("stream_options")
            body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        for theirs, ours in dialect.renames.items():
            if theirs in body:
                value = body.pop(theirs)
                body.setdefault(ours, value)
        if dialect.roles:
            body["messages"] = _translate_roles(body["messages"], dialect.roles)
        return orjson.dumps(body)

    async def _refusal(self, response: Response) -> UpstreamFailure:
        """The failure that a status other than 200 stands for."""
        try:
            body = await read_body(response, _MAX_ERROR_BYTES)
        except (TransportError, MalformedAnswer):
            body = b""  # the status says enough
        return classify(self.name, response.status_code, read_error(body), response.headers, self._scrub)


def _translate_roles(messages: object, roles: Mapping[str, str]) -> object:
    if not isinstance(messages, list) or not any(message["role"] in roles for message in messages):
        return messages
    return [{**message, "role": roles.get(message["role"], message["role"])} for message in messages]
