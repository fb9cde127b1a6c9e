"""What a simulation leaves behind: one record for each call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: How a call ended: answered in full; cut after content; all allowed attempts failed; the router had no candidate;
#: the client left before the first token; not complete by the deadline.
Ending = Literal["ok", "cut", "failed", "no_candidate", "gave_up", "deadline"]


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call, from the client's side."""

    index: int  #: the request's position in the trace
    at: float  #: seconds since the trace began
    ending: Ending
    ttft_s: float | None  #: from the call's beginning to its first token; None: none came
    latency_s: float  #: from the call's beginning to its end
    cost_usd: float  #: of all its attempts
    billed_tokens: int  #: of all its attempts
    wasted_tokens: int  #: the part that the client got nothing for
    attempts: int
    hedges: int
    rate_limited: int  #: attempts answered with 429
    target: str | None  #: which one the answer came from; None: there was none

    @property
    def is_ok(self) -> bool:
        """Whether the client got the whole answer."""
        return self.ending == "ok"
