"""Counts a call in and, when it is closed, out: metrics, the one log line, its plans. The outermost layer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from random import getrandbits
from time import time_ns
from typing import Final

from proxy.call import Answer, Attempt, Call, Handler
from proxy.chain.history import History
from proxy.errors import GatewayError
from proxy.observe import CallLog, Metrics
from proxy.observe.metrics import OTHER

#: What a client may choose as its request id: anything printable that is safe in a log, a header and a URL.
_SANE_ID: Final = re.compile(rb"[A-Za-z0-9_.:/=+@-]{1,128}")
_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


def new_id() -> str:
    """An id for a call: unique, and no caller had a say in it. It begins with the time, so that calls lie in the books'
    indexes in the order in which they come: entering them at random takes twice the CPU.
    """
    # Chance is seeded by the system; its own source costs a system call each time.
    return f"req_{time_ns() // 1_000_000:012x}{getrandbits(80):020x}"


def choose_request_id(headers: Mapping[bytes, bytes], default: str) -> str:
    """The client's `x-request-id` if it is sane, else `default`."""
    wanted = headers.get(b"x-request-id")
    return wanted.decode("ascii") if wanted is not None and _SANE_ID.fullmatch(wanted) else default


class Trace:
    """Sees every call's end, however it ended: it registers first on `call.closing`, so it is told last."""

    def __init__(
        self, metrics: Metrics, log: CallLog, clock: Callable[[], float], history: History | None = None
    ) -> None:
        """`clock` gives monotonic seconds; `history` keeps what routing knew of each call."""
        self._metrics = metrics
        self._log = log
        self._clock = clock
        self._history = history if history is not None else History()

    async def __call__(self, call: Call, next: Handler, /) -> Answer:
        """Count the call in and go on."""
        self._metrics.call_started(stream=call.request.stream)
        call.closing.callback(self._finish, call)
        return await next(call)

    def refuse(self, request_id: str, error: GatewayError) -> None:
        """Record a request that was refused before it became a call: the fact, and nothing of what it said."""
        self._metrics.call_refused(status=error.status, kind=error.kind)
        fields = {"request_id": request_id, "status": error.status, "error": error.kind, "param": error.param}
        self._log.write("refused", fields, asyncio.get_running_loop())

    def _finish(self, call: Call) -> None:
        duration_s = self._clock() - call.received_at
        attempt = call.last_attempt
        team = call.principal.team if call.principal is not None else OTHER
        ttft_s = overhead_s = None
        if call.first_block_at is not None:
            until_first_s = call.first_block_at - call.received_at
            overhead_s = max(0.0, until_first_s - call.waited_by(call.first_block_at))
            if call.request.stream:
                ttft_s = until_first_s
        usage = call.usage
        self._metrics.call_finished(
            model=call.model or OTHER,
            provider=attempt.provider if attempt is not None else OTHER,
            team=team,
            status=call.failed_status or call.status,  # a fixed answer is a failure, whatever its status says
            duration_s=duration_s,
            ttft_s=ttft_s,
            overhead_s=overhead_s,
            usage=usage,
            cost_nusd=call.booked_nusd or 0,  # so that Σ counters = Σ books
        )
        if call.error is not None:
            self._metrics.error(call.error)
        self._log.write("call", _line(call, ttft_s, duration_s, overhead_s), asyncio.get_running_loop())
        self._history.keep(call)


def _line(call: Call, ttft_s: float | None, duration_s: float, overhead_s: float | None) -> dict[str, object]:
    """What the log says of a call: never what was said in it."""
    attempt, usage, principal = call.last_attempt, call.usage, call.principal
    return {
        "id": call.id,
        "request_id": call.request_id,
        "trace_id": read_trace_id(call.headers),
        "team": principal.team if principal is not None else OTHER,
        "key": principal.key_name if principal is not None else None,
        "model": call.model or None,
        "provider": attempt.provider if attempt is not None else None,
        "target": attempt.target if attempt is not None else None,
        "stream": call.request.stream,
        "status": call.status,
        "error": call.error,
        "attempts": len(call.attempts),
        "fallback": call.fallback,
        **_seldom(call, attempt),
        "input_tokens": usage.input_tokens if usage is not None else None,
        "output_tokens": usage.output_tokens if usage is not None else None,
        "cached_tokens": usage.cached_tokens if usage is not None else None,
        "reasoning_tokens": usage.reasoning_tokens if usage is not None else None,
        "cost_usd": round(call.cost_nusd * 1e-9, 9) if call.cost_nusd is not None else None,
        "ttft_ms": _milliseconds(ttft_s),
        "duration_ms": _milliseconds(duration_s),
        "overhead_ms": _milliseconds(overhead_s),
    }


def _seldom(call: Call, attempt: Attempt | None) -> dict[str, object]:
    """Fields that most calls have no use for."""
    fields: dict[str, object] = {}
    if attempt is not None and attempt.dropped:
        fields["dropped"] = ",".join(attempt.dropped)
    if call.limited_by is not None:
        fields["limit"] = call.limited_by
    if call.cache is not None:
        fields["cache"] = call.cache.result
    if call.queued_s:
        fields["queued_ms"] = _milliseconds(call.queued_s)
    if call.is_rescued:
        fields["rescued"] = True
    if call.tier is not None:
        tier = call.tier
        fields |= {"asked_model": tier.model, "tier": str(tier), "complexity": round(tier.complexity, 3)}
    return fields


def read_trace_id(headers: Mapping[bytes, bytes]) -> str | None:
    """The trace id of a W3C `traceparent` header (Trace Context §3.2), if there is a valid one."""
    value = headers.get(b"traceparent")
    if value is None:
        return None
    found = _TRACEPARENT.fullmatch(value)
    return found.group(1).decode("ascii") if found is not None and found.group(1).strip(b"0") else None


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
