"""The adapter for OpenAI and everything that speaks its chat completions: encodes calls, decodes answers, names
failures.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic, time

from proxy.errors import (
    UpstreamAuthError,
    UpstreamError,
    UpstreamFailure,
    UpstreamQuotaExhausted,
    UpstreamRejected,
)
from proxy.providers.base import ChatStream, Patience
from proxy.providers.credentials import Credential, Credentials
from proxy.providers.dialects import Dialect, chat_url, embeddings_url
from proxy.providers.encode import encode
from proxy.providers.failures import Scrubber, classify, classify_inside, no_embeddings
from proxy.providers.ratelimits import RATE_LIMIT_SIGNS, read_rate_limits
from proxy.providers.sse import SSEStream, read_body
from proxy.providers.transport import URL, Content, Headers, Request, Response, Transport, let_go
from proxy.providers.transport.errors import TransportError, name_failure
from proxy.wire.answer import ChatAnswer, ErrorAnswer, MalformedAnswer, read_answer, read_chat_answer
from proxy.wire.chat import ChatRequest
from proxy.wire.embeddings import EmbeddingsRequest
from proxy.wire.failure import read_error
from routing import RateLimits, cap_retry_after, parse_retry_after

#: No answer of a chat model is larger; more than this is not read into memory.
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_MAX_ERROR_BYTES = 256 * 1024
#: What chat models answer to who asks them for embeddings.
_MAY_BE_UNSUITED = frozenset({403, 404})
#: How long a credential rests after a 429 that names no time, and at most, in seconds.
_COOLED_S = 5.0
_MAX_COOLED_S = 60.0
#: How often a provider's absurd Retry-After is worth a line in the log, in seconds.
_WARN_EVERY_S = 60.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenAISettings:
    """What an adapter needs to know of its provider."""

    name: str
    base_url: str
    dialect: Dialect
    credentials: Sequence[str] = ()  #: they rotate; none for a server that wants no key
    api_version: str = ""
    headers: Mapping[str, str] | None = None


class OpenAIProvider:
    """One provider that speaks OpenAI's dialect, over any httpx transport."""

    def __init__(self, settings: OpenAISettings, transport: Transport) -> None:
        self._settings = settings
        self.name = settings.name
        self._dialect = settings.dialect
        self._transport = transport
        self._scrub = Scrubber([*settings.credentials, *(settings.headers or {}).values()], settings.base_url)
        self._credentials = Credentials(settings.credentials or [""])
        self._silent_until = -inf  # about absurd waits, in monotonic seconds
        self._urls: dict[str, URL] = {}  # by model; as many as the config has targets here
        self._headers = headers_by_credential(settings, self._credentials)
        self._embeddings_urls: dict[str, URL] = {}  # the same

    async def answer(self, model: str, request: ChatRequest, patience: Patience) -> ChatAnswer:
        """See `Provider.answer`."""
        # The first byte of a whole answer comes with its last: only the total bounds the wait.
        timeout = {
            "connect": patience.connect_s,
            "first_byte": None,
            "idle": patience.idle_s,
            "total": patience.total_s,
        }
        credential, sent_at = self._pick(), monotonic()
        response = await self._send(model, request, timeout, credential)
        try:
            if response.status_code != 200:
                raise await self._refusal(response, credential, isinstance(request, EmbeddingsRequest))
            limits = self._limits(_names(response), response, sent_at)
            answer = read_answer(await read_body(response, _MAX_ANSWER_BYTES), request)
            self._credentials.worked(credential)
            answer.limits, answer.credential_id = limits, credential.id
            return answer
        except ErrorAnswer as answer:
            failure = classify_inside(self.name, answer.error, self._scrub)
            self._blame(credential, failure)
            raise failure from answer
        except MalformedAnswer as error:
            raise self._no_answer(f"sent an answer that is not what it was asked for: {error}") from error
        except TransportError as error:
            raise name_failure(error, self.name, credential.id) from error
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
        credential, sent_at = self._pick(), monotonic()
        response = await self._send(model, request, timeout, credential)
        opened = False
        try:
            if response.status_code != 200:
                raise await self._refusal(response, credential)
            head = _names(response)
            stream = SSEStream(self.name, response, request, patience, self._scrub)
            stream.limits = self._limits(head, response, sent_at)
            stream.credential_id = credential.id
            stream.goes_on_exactly = bool(request.text_so_far and self._dialect.resuming)
            try:
                kind = head.get(b"content-type", b"").lower()
                if b"text/event-stream" not in kind:
                    raise await self._no_stream(response, is_json=b"json" in kind)
                await stream.begin()
            except UpstreamFailure as failure:
                self._blame(credential, failure)
                raise
            self._credentials.worked(credential)
            opened = True
        except TransportError as error:
            raise name_failure(error, self.name, credential.id) from error
        finally:
            if not opened:
                await let_go(response)
        return stream

    def standings(self) -> Sequence[tuple[str, str]]:
        """See `Provider.standings`."""
        return [(id, standing) for id, standing, _ in self._credentials.states(monotonic())]

    async def aclose(self) -> None:
        """See `Provider.aclose`."""
        await self._transport.aclose()

    def _pick(self) -> Credential:
        """The credential to use. Raises UpstreamFailure while none is fit for use."""
        now = monotonic()
        credential = self._credentials.pick(now)
        if credential is not None:
            return credential
        failure: UpstreamFailure
        if all(standing == "parked" for _, standing, _ in self._credentials.states(now)):
            failure = UpstreamAuthError(
                f"Provider '{self.name}' refused this gateway's credentials, which are left out for a while. Your own "
                "key is fine; whoever runs this gateway must mend the provider's."
            )
        else:
            # As when there is one and it is at its limit: who can wait for it, waits.
            failure = UpstreamRejected(
                429,
                f"Every credential for provider '{self.name}' is at its limit.",
                type="rate_limit_error",
                code="rate_limit_exceeded",
                param=None,
                cause="rate_limited",
            )
            failure.retry_after_s = self._credentials.usable_in_s(now)
            failure.should_retry = True  # then: nobody was asked just now
        raise failure

    def _limits(self, head: Mapping[bytes, bytes], response: Response, sent_at: float) -> RateLimits | None:
        # Each credential has limits of its own: with several, what one is told says nothing about the target.
        if len(self._headers) > 1 or RATE_LIMIT_SIGNS.isdisjoint(head):
            return None
        return read_rate_limits(response.headers, sent_at, time())

    async def _send(
        self, model: str, request: ChatRequest, timeouts: Mapping[str, float | None], credential: Credential
    ) -> Response:
        # A stream costs httpx 1.6 µs to wrap, the same bytes as content 7.7 µs; the transport adds Content-Length.
        if isinstance(request, EmbeddingsRequest):
            url = self._embeddings_urls.get(model) or self._make_embeddings_url(model)
        else:
            url = self._urls.get(model) or self._make_url(model)
        sent = Request(
            "POST",
            url,
            headers=self._headers[credential.id],
            stream=Content(encode(self._dialect, model, request)),
            extensions={"timeout": timeouts},
        )
        try:
            return await self._transport.handle_async_request(sent)
        except TransportError as error:
            raise name_failure(error, self.name, credential.id) from error

    def _make_url(self, model: str) -> URL:
        settings = self._settings
        url = URL(chat_url(settings.dialect, settings.base_url, model, settings.api_version))
        self._urls[model] = url
        return url

    def _make_embeddings_url(self, model: str) -> URL:
        settings = self._settings
        url = URL(embeddings_url(settings.dialect, settings.base_url, model, settings.api_version))
        self._embeddings_urls[model] = url
        return url

    async def _refusal(self, response: Response, credential: Credential, is_embedding: bool = False) -> UpstreamFailure:
        """The failure that a status other than 200 stands for; what it says of our credential is kept in mind."""
        try:
            body = await read_body(response, _MAX_ERROR_BYTES)
        except (TransportError, MalformedAnswer):
            body = b""  # the status says enough
        said = read_error(body)
        failure = classify(self.name, response.status_code, said, response.headers, self._scrub, time())
        if is_embedding and response.status_code in _MAY_BE_UNSUITED:
            failure = no_embeddings(self.name, response.status_code)
        self._blame(credential, failure)
        if failure.retry_after_s is not None:
            self._note_absurd_wait(response.headers)
        return failure

    async def _no_stream(self, response: Response, *, is_json: bool) -> UpstreamFailure:
        """What came where a stream was asked for: often a plain error."""
        try:
            if is_json:
                read_chat_answer(await read_body(response, _MAX_ERROR_BYTES))
        except ErrorAnswer as answer:
            return classify_inside(self.name, answer.error, self._scrub)
        except MalformedAnswer:
            pass  # whatever it is, it is no stream
        return self._no_answer("was asked for a stream and sent something else")

    def _no_answer(self, what: str) -> UpstreamError:
        """Asked again, it would probably say the same, and be paid for it twice."""
        failure = UpstreamError(f"Provider '{self.name}' {what}.")
        failure.is_lasting = failure.may_be_billed = True
        return failure

    def _blame(self, credential: Credential, failure: UpstreamFailure) -> None:
        failure.credential_id = credential.id
        if len(self._headers) == 1:
            return  # there is nothing to choose: when to ask again is routing's business
        now = monotonic()
        if isinstance(failure, UpstreamAuthError | UpstreamQuotaExhausted):
            self._credentials.park(credential, now)
            _logger.warning("provider %s: credential %s was refused (%s)", self.name, credential.id, failure.kind)
        elif failure.cause == "rate_limited":
            asked_s = _COOLED_S if failure.retry_after_s is None else failure.retry_after_s
            self._credentials.cool(credential, min(asked_s, _MAX_COOLED_S), now)
        else:
            return
        usable_in_s = self._credentials.usable_in_s(now)
        failure.has_spare = usable_in_s == 0
        if usable_in_s and failure.cause == "rate_limited":
            failure.retry_after_s = usable_in_s  # until then there is no use in asking, whatever this one was told

    def _note_absurd_wait(self, headers: Headers) -> None:
        """Nobody rests for as long as that. Say so, but not for every call."""
        now, wall_now = monotonic(), time()
        asked_s = parse_retry_after(headers, wall_now)
        if asked_s is None or now < self._silent_until:
            return
        kept_s, is_absurd = cap_retry_after(asked_s, _MAX_COOLED_S)
        if is_absurd:
            self._silent_until = now + _WARN_EVERY_S
            _logger.warning(
                "provider %s asks to be left alone for %.0f s, which is absurd: it is left alone for %g s at most",
                self.name,
                asked_s,
                kept_s,
            )


def headers_by_credential(settings: OpenAISettings, credentials: Credentials) -> dict[str, Headers]:
    """What each request says before its body, by the credential's id; the transport adds Host and Content-Length."""
    dialect = settings.dialect
    common = [("accept-encoding", "identity"), ("content-type", "application/json"), *(settings.headers or {}).items()]
    keys = {
        one.id: [(dialect.key_header, dialect.key_prefix + one.secret)] if one.secret else [] for one in credentials
    }
    return {
        id: Headers([(name.encode(), value.encode()) for name, value in [*common, *key]]) for id, key in keys.items()
    }


def _names(response: Response) -> dict[bytes, bytes]:
    """The last header of each name, in lower case: httpx's own look-up costs 1 µs, and again for each name."""
    return {name.lower(): value for name, value in response.headers.raw}
