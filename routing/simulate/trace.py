"""The requests of a simulation, read from compact text. Opening files is the caller's business."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

_GOLDEN: Final = 0x9E3779B97F4A7C15  #: 2^64 over the golden ratio: its multiples spread evenly
_MASK: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for, and what the answer will truly be like."""

    index: int  #: position in the trace; all luck of the request hangs on it
    at: float  #: seconds since the trace began
    input_tokens: int
    output_tokens: int  #: the true length of the answer; no router sees it
    max_output_tokens: int | None = None  #: the client's own cap, which a router may see
    sticky: int | None = None  #: requests that share it share a prompt prefix
    stream: bool = True


def read(lines: Iterable[str]) -> list[Request]:
    """Requests from lines of `ms_since_start,input_tokens,output_tokens`, in the order of time.

    Empty lines and those that begin with `#` are skipped. Every second request, by a hash of its position, states a
    `max_output_tokens`. Raises ValueError naming the line that is not three whole numbers ≥ 0, or goes back in time.
    """
    requests: list[Request] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            ms, input_tokens, output_tokens = (int(part) for part in text.split(","))
        except ValueError:
            raise ValueError(f"line {number}: expected ms,input_tokens,output_tokens, got {text!r}") from None
        at = ms / 1000
        if min(ms, input_tokens, output_tokens) < 0 or (requests and at < requests[-1].at):
            raise ValueError(f"line {number}: negative, or earlier than the line before: {text!r}")
        index = len(requests)
        requests.append(Request(index, at, input_tokens, output_tokens, stated_cap(index, output_tokens)))
    return requests


def stated_cap(index: int, output_tokens: int) -> int | None:
    """The `max_output_tokens` that the client of this request states: nothing in half of the cases, else the power of
    two above one and a half times the true length.

    The cap betrays something of the true length, as no real client's does: a predictor keyed by it is flattered.
    """
    if (index * _GOLDEN & _MASK) >> 63:
        return None
    return 1 << (output_tokens * 3 // 2).bit_length()


def span_s(requests: Sequence[Request]) -> float:
    """Seconds from the beginning of the trace to its last request; 0 if there is none."""
    return requests[-1].at if requests else 0.0


def faster(requests: Sequence[Request], factor: float) -> list[Request]:
    """The same requests at `factor` times the rate (> 0): 1.6 squeezes an hour into 37.5 minutes."""
    return [replace(request, at=request.at / factor) for request in requests]
