"""What routing may know of a call. Reads the request once, and only for models whose routing makes use of it."""

from __future__ import annotations

from math import inf
from typing import Final

from proxy.call import Call
from proxy.chain.catalogue import Model
from routing import Facts
from routing.affinity import sticky_key
from routing.needs import needs

#: Bytes of JSON for a token: between Latin script (four and more) and Chinese (three).
_BYTES_PER_TOKEN: Final = 4
#: An answer that comes later than this before the client's own limit would cross it.
_MARGIN_S: Final = 0.2


def facts_of(call: Call, model: Model) -> Facts:
    """The facts of a call for one model: its own, or one it falls back to."""
    request, body = call.request, call.request.body
    deadline_at = inf if model.patience.total_s is None else call.received_at + model.patience.total_s
    patience_s = client_patience_s(call)
    if patience_s is not None and not request.stream:  # a stream is kept alive with comments
        deadline_at = min(deadline_at, call.received_at + max(patience_s - _MARGIN_S, patience_s / 2))
    if not model.is_chosen:
        return Facts(model.name, request.stream, deadline_at=deadline_at)
    return Facts(
        model.name,
        request.stream,
        input_tokens=request.size_bytes // _BYTES_PER_TOKEN,
        max_output_tokens=_cap(body.get("max_completion_tokens")) or _cap(body.get("max_tokens")),
        needs=needs(body),
        sticky=sticky_key(body, call.principal.team if call.principal is not None else ""),
        deadline_at=deadline_at,
        first_token_at=call.received_at + model.ttft_s,
    )


def client_patience_s(call: Call) -> float | None:
    """How long the client waits for something to read, as the official SDKs say with each request."""
    value = call.headers.get(b"x-stainless-read-timeout")
    if value is None:
        return None
    try:
        patience_s = float(value)
    except ValueError:
        return None
    return patience_s if 0 < patience_s < inf else None


def _cap(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None
