"""The best that could have been done, by one who sees the luck of every attempt before it is sent.

No router: it knows the length of every answer. It does keep to rate limits, and takes requests as they come, so
a plan over the whole hour could be cheaper still by saving a cheap target's allowance for a longer prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from routing.simulate.cloud import Cloud, Fate
from routing.simulate.profiles import Profile
from routing.simulate.records import CallRecord
from routing.simulate.trace import Request


def foresee(
    requests: Sequence[Request], profiles: Sequence[Profile], cloud: Cloud, objective_s: float = 2.0
) -> tuple[CallRecord, ...]:
    """Ask for each request the cheapest target that will answer in full and begin within the objective; if there is
    none, the one that answers in full and begins first; if there is none either, the call fails at once, at no cost.

    `cloud` is used up by it.
    """
    records = []
    running: list[tuple[float, str]] = []
    for request in requests:
        while running and running[0][0] <= request.at:
            cloud.ended(heappop(running)[1])
        options = []
        for profile in profiles:
            fate = cloud.peek(request, profile.name, 0, request.at)
            if fate.kind == "ok":
                cost_usd = profile.cost_usd(request.input_tokens, request.output_tokens, fate.cached_tokens)
                is_late = fate.first_s > objective_s
                options.append((is_late, fate.first_s if is_late else cost_usd, cost_usd, profile.name, fate))
        if not options:
            records.append(CallRecord(request.index, request.at, "failed", None, 0.0, 0.0, 0, 0, 0, 0, 0, None))
            continue
        _, _, cost_usd, name, fate = min(options, key=lambda option: option[:4])
        cloud.send(request, name, 0, request.at)
        heappush(running, (request.at + fate.end_s, name))
        records.append(_answered(request, name, fate, cost_usd))
    for _, name in running:
        cloud.ended(name)
    return tuple(records)


def _answered(request: Request, name: str, fate: Fate, cost_usd: float) -> CallRecord:
    tokens = request.input_tokens + fate.output_tokens
    return CallRecord(request.index, request.at, "ok", fate.first_s, fate.end_s, cost_usd, tokens, 0, 1, 0, 0, name)
