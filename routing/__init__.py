"""Waystation decides: which target a call goes to, and which comes next. Pure: no clock, no I/O, no logging, standard
library only.
"""

from routing.explain import Explanation, Verdict
from routing.fleet import Fleet, TargetState
from routing.replay import Alternative, Standing, alternatives
from routing.retry import RetrySettings, backoff_s, cap_retry_after, parse_retry_after
from routing.router import Group, Router
from routing.sharing import Sharing
from routing.types import (
    Basis,
    Candidate,
    Capacity,
    Exclusion,
    Facts,
    Kind,
    Objective,
    Outcome,
    Plan,
    Price,
    RateLimits,
    Target,
    Unfit,
)

__all__ = [
    "Alternative",
    "Basis",
    "Candidate",
    "Capacity",
    "Exclusion",
    "Explanation",
    "Facts",
    "Fleet",
    "Group",
    "Kind",
    "Objective",
    "Outcome",
    "Plan",
    "Price",
    "RateLimits",
    "RetrySettings",
    "Router",
    "Sharing",
    "Standing",
    "Target",
    "TargetState",
    "Unfit",
    "Verdict",
    "alternatives",
    "backoff_s",
    "cap_retry_after",
    "parse_retry_after",
]
