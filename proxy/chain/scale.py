"""What a call can come to at most, by its model: for quotas, and for what is booked if nobody learns more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from time import time
from typing import Final

from proxy.accounting import Ceiling, PriceBook, Tariff
from proxy.call import Call
from proxy.chain.facts import output_bound_of
from proxy.chain.groups import name_target
from proxy.config import Config

#: Output tokens of one answer whose bound neither the client nor the config names: what most models end at.
USUAL_OUTPUT: Final = 16_384
#: What a client's own bound counts as at most, where the config names none: no model of today gives more.
MAX_OUTPUT: Final = 131_072


@dataclass(frozen=True, slots=True)
class Scale:
    """What one attempt of a model can come to at most, its fallbacks and tiers included."""

    ceiling: Ceiling
    usual_output_tokens: int  #: for one choice, where the client names no bound
    max_output_tokens: int  #: however large the client's bound is

    def tokens(self, call: Call) -> tuple[int, int]:
        """Input and output tokens. A token stands for one byte of the request at least (images aside, of which bytes
        say nothing).
        """
        request = call.request
        cap = output_bound_of(request.body)
        output_tokens = self.usual_output_tokens if cap is None else min(cap, self.max_output_tokens)
        return request.size_bytes, output_tokens * request.n


def scales_of(config: Config, book: PriceBook) -> dict[str, Scale]:
    """By configured model. `book` knows what its targets cost."""
    return {name: _scale_of(name, config, book) for name in config.models}


def _scale_of(model: str, config: Config, book: PriceBook) -> Scale:
    reached = _reached(model, config)
    targets = [(name, target) for name in reached for target in config.models[name].targets]
    places = [(name, name_target(target)) for name, target in targets]
    known = [target.max_output for _, target in targets]
    usual = max((USUAL_OUTPUT if one is None else one for one in known), default=USUAL_OUTPUT)
    most = max((MAX_OUTPUT if one is None else one for one in known), default=MAX_OUTPUT)
    return Scale(Ceiling(partial(_tariffs, book, places)), usual, most)


def _tariffs(book: PriceBook, places: Iterable[tuple[str, str]]) -> list[Tariff | None]:
    # Prices may go up by the time of day while a call waits: the next ones count too.
    now_s = time()
    return [find(model, target, now_s) for model, target in places for find in (book.tariff, book.next_tariff)]


def _reached(model: str, config: Config) -> list[str]:
    """The model itself and all that its calls may fall back to, each once."""
    reached = [model]
    for name in reached:
        reached += [
            step.model for step in config.models[name].fallbacks if step.model is not None and step.model not in reached
        ]
    return reached
