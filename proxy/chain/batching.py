"""Calls for a single embedding that come while one of their kind is under way go together, as one call for many.

Who is alone waits for nobody. Whoever comes next waits until that one is back, but no longer than `batch_window`, or
until there are enough for a batch. Of one kind are calls of the same team for the same model with the same parameters.
What the upstream call comes to is split among its calls, each of which is accounted for on its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Final

import orjson

from proxy.accounting import Shares
from proxy.call import Answer, Call, Handler
from proxy.chain.catalogue import Catalogue
from proxy.chain.facts import deadline_of
from proxy.errors import GatewayError, InternalError, UpstreamFailure, UpstreamTimeout
from proxy.wire.embeddings import Embeddings, EmbeddingsRequest, size_of
from proxy.wire.usage import Usage

#: The inputs of a batch together: providers bound the tokens of one request (OpenAI: 300,000).
_MAX_BATCH_BYTES: Final = 400_000

_logger = logging.getLogger(__name__)

#: Team, configured model, is it a text, and all parameters.
_Kind = tuple[str, str, bool, bytes]


@dataclass(slots=True, eq=False)
class _Rider:
    """One call that goes with others."""

    call: Call
    request: EmbeddingsRequest
    size: int  #: about how large its input is
    result: asyncio.Future[Embeddings | GatewayError]
    batch: _Batch | None = None  #: None: it has not left yet
    at: int = 0  #: its place among them


@dataclass(slots=True, eq=False)
class _Batch:
    """One upstream call for several."""

    call: Call
    riders: list[_Rider]
    shares: Shares  #: what each has of what it comes to
    waiting: int  #: how many riders are still there
    task: asyncio.Task[None] | None = None


@dataclass(slots=True, eq=False)
class _Lane:
    """The calls of one kind."""

    under_way: int = 0
    waiting: list[_Rider] = field(default_factory=list)
    size: int = 0  #: of those that wait
    timer: asyncio.TimerHandle | None = None


class Batching:
    """The layer before the route, one a world, for embeddings only."""

    def __init__(self, catalogue: Catalogue, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._catalogue = catalogue
        self._clock = clock
        self._lanes: dict[_Kind, _Lane] = {}

    async def __call__(self, call: Call, next: Handler, /) -> Answer:
        """Go on, alone or with others."""
        request, model = call.request, self._catalogue[call.model]
        if not isinstance(request, EmbeddingsRequest) or len(request.inputs) != 1 or not model.batch_window_s:
            return await next(call)
        kind = _kind_of(call, request)
        lane = self._lanes.get(kind)
        if lane is not None:
            return await self._ride(call, request, kind, lane, next)
        lane = self._lanes[kind] = _Lane(under_way=1)
        try:
            return await next(call)
        finally:
            self._landed(kind, lane, next)

    async def _ride(self, call: Call, request: EmbeddingsRequest, kind: _Kind, lane: _Lane, next: Handler) -> Answer:
        model, size = self._catalogue[call.model], size_of(request.inputs[0])
        loop = asyncio.get_running_loop()
        if lane.size + size > _MAX_BATCH_BYTES:
            self._depart(kind, lane, next)
        rider = _Rider(call, request, size, loop.create_future())
        call.closing.push_async_callback(_end, rider)
        lane.waiting.append(rider)
        lane.size += size
        if len(lane.waiting) >= model.batch_size:
            self._depart(kind, lane, next)
        elif lane.timer is None:
            lane.timer = loop.call_later(model.batch_window_s, self._depart, kind, lane, next)
        deadline_at = deadline_of(call, model)
        try:
            async with asyncio.timeout(None if deadline_at == inf else deadline_at - self._clock()):
                result = await rider.result
        except TimeoutError:
            raise UpstreamTimeout("The model did not answer in time.") from None
        finally:
            self._get_off(lane, rider)
        if isinstance(result, Embeddings):
            return Answer(200, (), "upstream", embeddings=result)
        if rider.batch is not None and len(rider.batch.riders) > 1 and _may_be_of_one(result):
            return await next(call)  # whose fault it was will show
        raise result

    def _depart(self, kind: _Kind, lane: _Lane, next: Handler) -> None:
        """Those that wait go now."""
        if lane.timer is not None:
            lane.timer.cancel()
        riders, lane.waiting, lane.size, lane.timer = lane.waiting, [], 0, None
        if riders:
            lane.under_way += 1
            batch = _Batch(_call_for(riders), riders, Shares([rider.size for rider in riders]), len(riders))
            for at, rider in enumerate(riders):
                rider.batch, rider.at = batch, at
            batch.task = asyncio.create_task(self._fly(batch, kind, lane, next))
            batch.task.add_done_callback(_log_fault)

    def _landed(self, kind: _Kind, lane: _Lane, next: Handler) -> None:
        """One upstream call of this kind is over."""
        lane.under_way -= 1
        self._depart(kind, lane, next)
        if not lane.under_way:
            del self._lanes[kind]

    async def _fly(self, batch: _Batch, kind: _Kind, lane: _Lane, next: Handler) -> None:
        call = batch.call
        result: Embeddings | GatewayError = InternalError(
            "The gateway failed to handle this call. The fault is logged."
        )
        try:
            answer = await next(call)
            assert answer.embeddings is not None, "whoever answers a request for embeddings gives some"
            result = answer.embeddings
        except GatewayError as error:
            result = error
        finally:
            self._landed(kind, lane, next)
            try:
                await call.closing.aclose()
            finally:
                _hand_out(batch, result)

    def _get_off(self, lane: _Lane, rider: _Rider) -> None:
        """Its result is there, or it waits for none any more."""
        batch = rider.batch
        if batch is None:
            lane.waiting.remove(rider)
            lane.size -= rider.size
            return
        batch.waiting -= 1
        _show(batch, rider)
        if not batch.waiting and rider.result.cancelled() and batch.task is not None:
            batch.task.cancel()


async def _end(rider: _Rider) -> None:
    """The last to leave a batch that is under way sees to it that it ends."""
    batch, rider.batch = rider.batch, None  # they hold on to each other
    if batch is not None and not batch.waiting and batch.task is not None and not batch.task.done():
        await asyncio.wait([batch.task])


def _kind_of(call: Call, request: EmbeddingsRequest) -> _Kind:
    parameters = {name: value for name, value in request.body.items() if name != "input"}
    team = "" if call.principal is None else call.principal.team
    said = orjson.dumps(parameters, option=orjson.OPT_SORT_KEYS)
    return team, call.model, isinstance(request.inputs[0], str), said


def _call_for(riders: list[_Rider]) -> Call:
    """The call that goes to a provider for all of them: in a hurry for none of them alone, paid by each for itself."""
    first = riders[0].call
    request = riders[0].request.only([rider.request.inputs[0] for rider in riders])
    latest = max(rider.call.received_at for rider in riders)
    call = Call(first.id, first.request_id, latest, {}, request, first.model, first.principal)
    covers = [rider.call.cover for rider in riders if rider.call.cover is not None]
    if covers:
        call.cover = partial(_cover, covers)
    return call


async def _cover(covers: Sequence[Callable[[Call, int], Awaitable[bool]]], call: Call, more_tokens: int) -> bool:
    for cover in covers:
        if not await cover(call, more_tokens):
            return False
    return True


def _may_be_of_one(error: GatewayError) -> bool:
    """Did the upstream, or whoever is on the way to it, dislike what was asked? It may have been one of the inputs, or
    that there were several.
    """
    is_lasting = isinstance(error, UpstreamFailure) and error.is_lasting
    return is_lasting or (error.status < 500 and error.status not in (401, 403, 408, 429, 499))


def _hand_out(batch: _Batch, result: Embeddings | GatewayError) -> None:
    """Give each call that still waits its part of the result."""
    for at, rider in enumerate(batch.riders):
        if rider.result.done():
            continue  # it has left
        if isinstance(result, Embeddings):
            usage = None if result.usage is None else _part_of(result.usage, batch.shares, at)
            rider.result.set_result(Embeddings([result.vectors[at]], result.model, usage))
        else:
            rider.result.set_result(result)


def _part_of(usage: Usage, shares: Shares, at: int) -> Usage:
    return Usage(shares.part(usage.input_tokens, at), 0)  # embeddings have no other tokens


def _show(batch: _Batch, rider: _Rider) -> None:
    """Show a call what became of the one that was made for it, its part of tokens and money as its own."""
    source, call, shares, at = batch.call, rider.call, batch.shares, rider.at
    call.plans += source.plans
    call.strategy = source.strategy
    for attempt in source.attempts:
        own = replace(attempt)
        call.attempts.append(own)
        if attempt is source.answered:
            call.answered = own
        if attempt.usage is not None:
            own.usage = _part_of(attempt.usage, shares, at)
            call.usage = own.usage if call.usage is None else call.usage + own.usage
        if attempt.cost_nusd is not None:
            own.cost_nusd = shares.part(attempt.cost_nusd, at)
            call.cost_nusd = own.cost_nusd + (call.cost_nusd or 0)


def _log_fault(task: asyncio.Task[None]) -> None:
    fault = None if task.cancelled() else task.exception()
    if fault is not None:
        _logger.error("internal error in a batch of embeddings", exc_info=fault)
