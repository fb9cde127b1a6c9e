"""What is left out of a request for the target it is sent to: what `drop_params` of that target says, no more."""

from __future__ import annotations

from dataclasses import replace

from proxy.call import Attempt
from proxy.wire.chat import ChatRequest
from routing import Target


def request_for(target: Target, request: ChatRequest, attempt: Attempt) -> ChatRequest:
    """The request as this target gets it; `attempt` is told what was left out. The request itself stays whole for the
    next target.
    """
    if not target.drop_params:
        return request
    body = request.body
    found = [name for name in target.drop_params if name in body]
    if not found:
        return request
    attempt.dropped = tuple(name for name in found if body[name] is not None)  # null asks for nothing
    return replace(request, body={name: value for name, value in body.items() if name not in found})
