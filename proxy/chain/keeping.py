"""What of an answer the cache keeps."""

from __future__ import annotations

from typing import Any

import orjson

from proxy.cache import Flight, Stored, unfit
from proxy.call import Answer
from proxy.wire.replay import completion_from


def stored_of(flight: Flight, scope: bytes, now_s: float, at: float) -> Stored | None:
    """The answer as it is to be kept; None if it is not worth it. `at`: monotonic seconds."""
    call, answer = flight.call, flight.answer
    if answer is None or answer.status != 200 or call.fallback is not None or call.is_rescued or call.principal is None:
        return None
    document, body = _read(flight, answer)
    if document is None or unfit(document, len(body)) is not None:
        return None
    answer_id = document.get("id")
    return Stored(
        body,
        call.principal.team,
        call.model,
        scope,
        call.id,
        call.request_id,
        answer_id if isinstance(answer_id, str) else "",
        now_s,
        call.cost_nusd or 0,
        0.0 if flight.began_at is None or answer.blocks is None else at - flight.began_at,
    )


def _read(flight: Flight, answer: Answer) -> tuple[dict[str, Any] | None, bytes]:
    """A whole answer, parsed and as JSON."""
    if answer.blocks is None:
        return orjson.loads(answer.body), answer.body
    answered = flight.call.answered  # of the attempts together, others may have used something too
    usage = flight.call.usage if answered is None else answered.usage
    document = completion_from(flight.reel.contents, usage) if flight.reel.is_whole else None
    return document, b"" if document is None else orjson.dumps(document)
