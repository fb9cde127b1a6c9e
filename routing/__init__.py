"""Waystation decides: which target a call goes to, and which comes next. Pure: no clock, no I/O, no logging, standard
library only.
"""

from routing.fleet import Fleet
from routing.retry import RetrySettings, backoff_s, parse_retry_after
from routing.router import Group, Router
from routing.types import (
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
)

__all__ = [
    "Candidate",
    "Capacity",
    "Exclusion",
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
    "Target",
    "backoff_s",
    "parse_retry_after",
]
