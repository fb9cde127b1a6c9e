"""What a client is told when no target of a model may be asked: is the request at odds with all of them, or is it only
the moment? Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.errors import AtCapacity, ContextLengthExceeded, GatewayError, InvalidRequest
from routing import Exclusion, Facts
from routing.needs import describe, parameter_of


def nobody(facts: Facts, excluded: Sequence[Exclusion], before: GatewayError | None = None) -> GatewayError:
    """Why no target of the model may be asked. `excluded`: all of them, at least one; `before`: what made us come here
    from another model.
    """
    if all(item.unfit is not None for item in excluded):
        too_small = [item.target.context_tokens or 0 for item in excluded if item.unfit == "context"]
        return _too_long(facts, max(too_small)) if too_small else _beyond_all(facts, excluded)
    waits_s = {item.target.name: item.until_s for item in excluded if item.unfit is None}
    if isinstance(before, AtCapacity):
        waits_s = {**before.waits_s, **waits_s}  # whichever of both models' targets has room first
    return AtCapacity(f"Every target of the model '{facts.model}' is at its limit. Try again.", waits_s)


def _too_long(facts: Facts, context_tokens: int) -> ContextLengthExceeded:
    asked = f"about {max(facts.input_tokens, facts.least_tokens):,} tokens of input"
    if facts.max_output_tokens is not None:
        asked += f" and up to {facts.max_output_tokens:,} of output"
    return ContextLengthExceeded(
        f"The context of the model '{facts.model}' is {context_tokens:,} tokens, input and output together, but this "
        f"request asks for {asked}. Shorten the messages, or ask for less output."
    )


def _beyond_all(facts: Facts, excluded: Sequence[Exclusion]) -> InvalidRequest:
    """No target meets all needs: name those that none meets, or, if each is met by some, all that are missing."""
    missing = [facts.needs & item.target.lacks for item in excluded]
    named = sorted(frozenset.intersection(*missing) or frozenset.union(*missing))
    return InvalidRequest(
        f"No target of the model '{facts.model}' can serve this request: it asks for "
        f"{' and '.join(map(describe, named))}. Leave that out, or ask for another model.",
        param=parameter_of(named[0]),
    )
