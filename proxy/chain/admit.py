"""Lets a call in while there is room; else it waits, by priority, then in order of arrival, until its time is up. Who
finds no place in the queue is refused at once, with a word on when to come again.
"""

from __future__ import annotations

from typing import Final

from proxy.call import Answer, Call, Handler
from proxy.chain.admission import Admission
from proxy.chain.catalogue import Catalogue
from proxy.chain.facts import deadline_of
from proxy.errors import AtCapacity, InvalidRequest

_PRIORITY: Final = b"x-waystation-priority"


class Admit:
    """The layer before route, one a world; what it knows of the calls under way is in Admission."""

    def __init__(self, admission: Admission, catalogue: Catalogue) -> None:
        self._admission = admission
        self._catalogue = catalogue

    async def __call__(self, call: Call, next: Handler, /) -> Answer:
        """Go on when there is room. Raises Overloaded, and InvalidRequest for a priority that is none."""
        admission = self._admission
        priority = priority_of(call)
        why: AtCapacity | tuple[str, ...] = admission.obstacles(call.model, priority)
        if not why:
            admission.let_in(call)
            try:
                return await next(call)
            except AtCapacity as full:
                if call.attempts:
                    raise
                why = full
        waiter = admission.queue_up(call, priority, deadline_of(call, self._catalogue[call.model]), why)
        while True:
            await admission.wait(waiter)
            if admission.let_try(waiter):
                answer = await _try(call, next)
                if isinstance(answer, Answer):
                    return answer
                admission.put_back(waiter, answer)


async def _try(call: Call, next: Handler) -> Answer | AtCapacity:
    call.plans.clear()  # those that found no room
    try:
        return await next(call)
    except AtCapacity as full:
        if call.attempts:  # it has used up some of what it had: that is no call to begin anew
            raise
        return full


def priority_of(call: Call) -> int:
    """Its team's priority, or a lower one that it asks for. Raises InvalidRequest."""
    own = call.principal.priority if call.principal is not None else 0
    wanted = call.headers.get(_PRIORITY)
    if wanted is None:
        return own
    if len(wanted) != 1 or not wanted.isdigit():
        raise InvalidRequest(
            "The header x-waystation-priority must be a whole number from 0 to 9. It can lower the priority of a call, "
            "not raise it above its team's."
        )
    return min(own, int(wanted))
