"""A stream that goes on at another target when it is cut after content has come, for models with `rescue: true`.

Text only: the rest of anything else can't be joined to what the client has. What is asked for and how it is joined is
in `proxy/wire/seam.py`; a comment in the stream marks the place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from proxy.chain.engine import Engine, Quest, Won
from proxy.errors import UpstreamError, UpstreamFailure
from proxy.observe import Metrics
from proxy.providers import ChatStream
from proxy.wire.failure import MalformedAnswer
from proxy.wire.seam import Seam, tokens_in


class RescuedStream:
    """The blocks of one answer, from as many targets as it takes. A failure that can't be made good is raised."""

    def __init__(self, engine: Engine, quest: Quest, won: Won, stream: ChatStream, metrics: Metrics) -> None:
        """`quest`: how `stream` was come by. All streams are settled by `call.closing`."""
        self._engine = engine
        self._quest = quest
        self._won = won
        self._stream = stream
        self._metrics = metrics
        self._seam = Seam()
        self._is_first = True  # is it still the stream that the answer began with?
        self._mark = b""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next block, as the client is to see it."""
        while True:
            try:
                block = await self._stream.__anext__()
            except UpstreamFailure as failure:
                await self._go_on(failure)
                continue
            if self._is_first:
                self._seam.passed(block)
                return block
            try:
                block = self._seam.join(block)
            except MalformedAnswer as error:
                raise UpstreamError(f"The stream was cut, and the rest does not continue it: {error}.") from error
            if block:
                block, self._mark = self._mark + block, b""
                return block

    async def _go_on(self, failure: UpstreamFailure) -> None:
        """Find another stream for the rest. Raises the failure if there is none."""
        quest, cut = self._quest, self._won.report
        request = self._seam.resume(quest.request)
        if request is None or failure.cause not in ("unavailable", "rate_limited"):
            raise failure
        await cut.broke(quest.call, self._stream, failure)
        # No fallback can follow any more: what was kept back for them is free.
        max_attempts = max(quest.max_attempts, quest.model.retries.max_attempts)
        if len(quest.call.attempts) >= max_attempts:
            raise failure
        facts = replace(
            quest.facts,
            tried=(*quest.facts.tried, cut.attempt.target),
            first_token_at=None,
            input_tokens=quest.facts.input_tokens + tokens_in(request.text_so_far),
        )
        following = Quest(
            quest.call, quest.model, request, facts, max_attempts, failure, is_repeated=True, failed=cut.attempt
        )
        won = await self._engine.pursue(following)
        if not isinstance(won, Won) or won.stream is None:
            self._metrics.rescue("failed")
            raise failure
        self._metrics.rescue("joined")
        quest.call.is_rescued = True
        if won.stream.goes_on_exactly:
            self._seam.go_on_exactly()
        self._quest = replace(following, request=quest.request)
        self._won, self._stream, self._is_first = won, won.stream, False
        self._mark = b": waystation: continued at %b\n\n" % won.report.attempt.target.encode()
