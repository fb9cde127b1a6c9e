"""What a simulated provider would say, and when. Pure: no I/O, no clock; chance comes in as an argument.

`demo.py` puts it behind the transport interface. The text is a function of the request alone; only timing and faults
are drawn.
"""

from __future__ import annotations

from proxy.providers.simulated.completion import Completion, complete
from proxy.providers.simulated.embedding import embed
from proxy.providers.simulated.envelope import (
    FAULTY_ANSWERS,
    ErrorAnswer,
    chunk_steps,
    completion_body,
    not_found,
    rate_limit_headers,
    refusal,
)
from proxy.providers.simulated.profile import PROFILES, DemoProfile, Fault, profile_named
from proxy.providers.simulated.request import BadRequestError, SimulatedRequest, read_request

__all__ = [
    "FAULTY_ANSWERS",
    "PROFILES",
    "BadRequestError",
    "Completion",
    "DemoProfile",
    "ErrorAnswer",
    "Fault",
    "SimulatedRequest",
    "chunk_steps",
    "complete",
    "completion_body",
    "embed",
    "not_found",
    "profile_named",
    "rate_limit_headers",
    "read_request",
    "refusal",
]
