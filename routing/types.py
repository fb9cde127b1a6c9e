"""The words that routing and the proxy share. Values only; nothing here decides.

Times called `at` are monotonic seconds, durations end in `_s`. Prices and costs are US dollars as floats: they serve
comparison only, accounts are kept elsewhere in whole nano-dollars.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Literal

#: What became of an attempt, as far as it says something about its target:
#: `ok`; `cut` (it broke after content had come); `failed` (an error, or no answer); `timeout`; `rate_limited` (429);
#: `refused` (401, 403: our credential's fault); `rejected` (400 and the like: the request's own fault);
#: `outrun` (another attempt began to answer first: slow, perhaps, but not at fault); `gone` (the client left: nobody's
#: fault).
Kind = Literal["ok", "cut", "failed", "timeout", "rate_limited", "refused", "rejected", "outrun", "gone"]
#: What a target can't do for a call, now or later: meet one of its needs, or hold it.
Unfit = Literal["lacks", "context"]


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float
    cached_input: float | None = None  #: what the provider's prompt cache costs; None: as `input`


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a target can take, as far as the config says; None is unknown, and learned."""

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | Literal["auto"] | None = None  #: attempts in flight; auto: learned; None: no bound of ours


@dataclass(frozen=True, slots=True)
class Target:
    """One model at one provider: what an attempt is sent to."""

    name: str  #: unique within a world, `provider/model`; safe as a metric label and a header value
    provider: str
    model: str  #: as the provider calls it
    price: Price | None = None
    capacity: Capacity = Capacity()
    context_tokens: int | None = None  #: input and output together; None: unknown, never a reason to skip it
    lacks: frozenset[str] = frozenset()  #: needs that it cannot meet (see `needs.py`)
    drop_params: tuple[str, ...] = ()  #: request parameters that are left out of what it is sent
    weight: float = 1.0  #: its share under `weighted`


@dataclass(frozen=True, slots=True)
class Objective:
    """What a model promises: of all calls, `within` begin to answer in `ttft_s` seconds. Shares, 0..1."""

    ttft_s: float = 2.0
    within: float = 0.95
    success: float | None = None  #: of all calls, so many are answered in full; None: as many as the rest allows


@dataclass(frozen=True, slots=True)
class Facts:
    """All that routing may know of a call: never the prompt, never the key."""

    model: str  #: the configured model (not the alias the client used)
    stream: bool
    input_tokens: int = 0  #: estimated
    max_output_tokens: int | None = None  #: the client's own cap
    needs: frozenset[str] = frozenset()  #: what the request asks of a target, by the names of `needs.py`
    least_tokens: int = 0  #: of input, surely; 0: nobody counted
    is_outgrown: bool = False  #: has a target refused it as too long?
    sticky: int | None = None  #: hash of what makes calls belong together (conversation, prompt prefix); None: nothing
    deadline_at: float = inf  #: by then the answer must be complete
    first_token_at: float | None = None  #: by then it must have begun; None: by the objective alone
    tried: tuple[str, ...] = ()  #: names of targets that this call asked before, latest last
    may_wait: bool = True  #: until a target that is full has room; False once any target of any model was asked


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What a provider's answer said of its limits, at the time its request was *sent*; None: it did not say."""

    sent_at: float
    limit_requests: int | None = None
    remaining_requests: int | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_requests_s: float | None = None
    reset_tokens_s: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt."""

    target: str
    kind: Kind
    started_at: float
    duration_s: float
    ttft_s: float | None = None  #: until the first content; None: none came
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0  #: the part of `input_tokens` that was read from the provider's cache
    retry_after_s: float | None = None  #: as the provider asked, already capped
    limits: RateLimits | None = None
    reserved_tokens: int = 0  #: what `Router.began` said it counts for; 0: nobody kept it
    is_ttft_told: bool = False  #: whether `Router.first_token` was told of it when it came


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the scorer expects of a target for one call."""

    cost_usd: float
    p_ok: float  #: that it answers at all
    p_miss: float  #: that it fails, or its stream begins later than it may
    p_cut: float  #: that its stream dies after content
    ttft_p50_s: float  #: until its stream begins; of a call that does not stream, until the answer is there
    ttft_p95_s: float
    score: float  #: lower is better


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target that may be asked, and why it stands where it stands."""

    target: Target
    reason: str


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A target that may not be asked now, and why."""

    target: Target
    reason: str
    until_s: float | None = None  #: seconds until it may be; None: not by waiting
    unfit: Unfit | None = None  #: why it could not serve this call at any time; None: it is the moment's fault


#: What was known of a target when a plan was made: its score, its position in the config, its name, the expected cost
#: in dollars, P(it answers), the median time in seconds to its first token, or to the whole answer of a call that does
#: not stream, the deviation of that time's logarithm, P(its stream is cut), the share of its provider's limits that was
#: used, and whether it is a stranger, who comes after all others.
Rating = tuple[float, int, str, float, float, float, float, float, float, bool]


#: What things count as when targets are compared, in dollars: a late beginning (λ), a failed call besides that, a usual
#: call.
Stakes = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Basis:
    """What a plan was reckoned from, for those who ask later."""

    is_stream: bool
    limit_s: float  #: by when the first token was wanted, from then
    stakes: Stakes
    ratings: tuple[Rating, ...]  #: of all targets that were compared, in no particular order


@dataclass(frozen=True, slots=True)
class Plan:
    """Candidates in the order in which to ask them. Empty only if `excluded` says why each target is out."""

    strategy: str
    candidates: tuple[Candidate, ...]
    excluded: tuple[Exclusion, ...] = field(default=())
    basis: Basis | None = None  #: None where nothing was compared: in turn, or everybody was asked before
