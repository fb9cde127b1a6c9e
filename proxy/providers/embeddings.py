"""Asks a provider for the vectors of texts (`POST /v1/embeddings`), for the gateway's own use."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic, time
from typing import Final

import orjson

from proxy.errors import UpstreamAuthError, UpstreamError, UpstreamFailure, UpstreamQuotaExhausted, UpstreamUnavailable
from proxy.providers.credentials import Credential, Credentials
from proxy.providers.dialects import embeddings_url
from proxy.providers.failures import Scrubber, classify, classify_inside
from proxy.providers.openai import OpenAISettings, headers_by_credential
from proxy.providers.sse import read_body
from proxy.providers.transport import URL, Content, Request, Response, Transport, let_go
from proxy.providers.transport.errors import TransportError, name_failure
from proxy.wire.failure import ErrorAnswer, MalformedAnswer, find_error, parse_answer, read_error

#: 16 vectors of 4,096 numbers are 1.5 MB.
_MAX_ANSWER_BYTES: Final = 8_000_000
_MAX_ERROR_BYTES: Final = 256 * 1024
#: How long a credential rests after a 429 that names no time, and at most, in seconds.
_COOLED_S: Final = 5.0
_MAX_COOLED_S: Final = 60.0

Vectors = list[list[float]]


class Embeddings:
    """One model that makes vectors, at one provider. Its credentials go to that provider's address and nowhere else."""

    def __init__(self, settings: OpenAISettings, transport: Transport, model: str, total_s: float) -> None:
        """`total_s` bounds each call. Opens no connection yet."""
        self.name = settings.name
        self._model = model
        self._transport = transport
        self._url = URL(embeddings_url(settings.dialect, settings.base_url, model, settings.api_version))
        self._timeout = {"connect": total_s, "first_byte": total_s, "idle": total_s, "total": total_s}
        self._credentials = Credentials(settings.credentials or [""])
        self._headers = headers_by_credential(settings, self._credentials)
        self._scrub = Scrubber([*settings.credentials, *(settings.headers or {}).values()], settings.base_url)

    async def ask(self, texts: Sequence[str]) -> Vectors:
        """A vector for each text, in their order, as the provider gives it: of any length, its members not looked
        at. One call, never repeated. Raises UpstreamFailure.
        """
        credential = self._credentials.pick(monotonic())
        if credential is None:
            raise UpstreamUnavailable(f"Every credential for provider '{self.name}' is refused or at its limit.")
        body = orjson.dumps({"model": self._model, "input": [*texts]})
        request = Request(
            "POST",
            self._url,
            headers=self._headers[credential.id],
            stream=Content(body),
            extensions={"timeout": self._timeout},
        )
        try:
            response = await self._transport.handle_async_request(request)
        except TransportError as error:
            raise name_failure(error, self.name, credential.id) from error
        try:
            if response.status_code != 200:
                raise await self._refusal(response, credential)
            vectors = _read(await read_body(response, _MAX_ANSWER_BYTES), len(texts))
        except ErrorAnswer as answer:
            failure = classify_inside(self.name, answer.error, self._scrub)
            self._blame(credential, failure)
            raise failure from answer
        except MalformedAnswer as error:
            raise UpstreamError(f"Provider '{self.name}' sent an answer without the vectors: {error}.") from error
        except TransportError as error:
            raise name_failure(error, self.name, credential.id) from error
        finally:
            await let_go(response)
        self._credentials.worked(credential)
        return vectors

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def _refusal(self, response: Response, credential: Credential) -> UpstreamFailure:
        try:
            body = await read_body(response, _MAX_ERROR_BYTES)
        except (TransportError, MalformedAnswer):
            body = b""  # the status says enough
        status, said = response.status_code, read_error(body)
        failure = classify(self.name, status, said, response.headers, self._scrub, time())
        self._blame(credential, failure)
        return failure

    def _blame(self, credential: Credential, failure: UpstreamFailure) -> None:
        """Who is refused or at its limit rests, the only credential too: nobody waits for these vectors."""
        failure.credential_id = credential.id
        if isinstance(failure, UpstreamAuthError | UpstreamQuotaExhausted):
            self._credentials.park(credential, monotonic())
        elif failure.cause == "rate_limited":
            asked_s = _COOLED_S if failure.retry_after_s is None else failure.retry_after_s
            self._credentials.cool(credential, min(asked_s, _MAX_COOLED_S), monotonic())


def _read(raw: bytes, count: int) -> Vectors:
    """The vectors by their index. Raises ErrorAnswer, MalformedAnswer."""
    document = parse_answer(raw)
    error = find_error(document)
    if error is not None:
        raise ErrorAnswer(error)
    rows = document.get("data")
    if not isinstance(rows, list) or len(rows) != count:
        raise MalformedAnswer(f"it should have {count} in 'data'")
    vectors: dict[int, list[float]] = {}
    for place, row in enumerate(rows):
        index = row.get("index", place) if isinstance(row, dict) else None
        vector = row.get("embedding") if isinstance(row, dict) else None
        if not isinstance(index, int) or not isinstance(vector, list):  # what is in it, is looked at with the whole
            raise MalformedAnswer(f"data[{place}] has no list of numbers")
        vectors[index] = vector
    if vectors.keys() != {*range(count)}:
        raise MalformedAnswer("the indexes in 'data' are not those of the texts")
    return [vectors[place] for place in range(count)]
