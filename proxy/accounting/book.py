"""Which prices are in force for the targets of one config, as time goes by."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import inf
from time import time

from proxy.accounting.cost import Tariff
from proxy.accounting.prices import PriceTable
from proxy.config import Config


class PriceBook:
    """A tariff for each target of each model. What changes by date, or by the time of day, changes by itself."""

    def __init__(self, config: Config, table: PriceTable, now_s: float) -> None:
        """`now_s` is Unix time: what is in force then is looked up at once, so that no call waits for it."""
        self._table = table
        self._priced = {
            (model, f"{target.provider}/{target.model}"): (config.providers[target.provider], target)
            for model, settings in config.models.items()
            for target in settings.targets
        }
        self._tariffs = {place: self._look_up(place, now_s) for place in self._priced}

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Every model with each of its targets, by their names, in the order of the config."""
        return iter(self._priced)

    def tariff_now(self, model: str, target: str) -> Tariff | None:
        """The same as it is at this moment."""
        return self.tariff(model, target, time())

    def tariff(self, model: str, target: str, now_s: float) -> Tariff | None:
        """What a target costs now (Unix time); None if nobody knows, and its calls count as zero.

        Raises KeyError for a target that the config does not have. Cost: 0.1 µs, but for the first call after prices
        have run out, which looks them up again.
        """
        place = model, target
        tariff = self._tariffs[place]
        if tariff is not None and now_s >= tariff.until_s:
            tariff = self._tariffs[place] = self._look_up(place, now_s)
        return tariff

    def next_tariff(self, model: str, target: str, now_s: float) -> Tariff | None:
        """What it will cost when the tariff of now has run out; None if nobody knows, or it never does."""
        tariff = self.tariff(model, target, now_s)
        return None if tariff is None or tariff.until_s == inf else self._look_up((model, target), tariff.until_s)

    def _look_up(self, place: tuple[str, str], now_s: float) -> Tariff | None:
        prices = self._table.price_of(*self._priced[place], datetime.fromtimestamp(now_s, UTC))
        return None if prices is None else Tariff.of(prices)
