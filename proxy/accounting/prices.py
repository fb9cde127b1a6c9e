"""What tokens cost, by model and date: the config's own price where it has one, else the table of genai-prices. The
only file that knows that package. Not the arithmetic of a call: that is `cost.py`.

The package is used for its data alone. It can fetch newer prices over HTTP; nothing here asks it to, and what is in
force changes only with an upgrade of the package, a reload, or a date that the data itself names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Final, Literal, Self

from genai_prices import __version__ as _table_version
from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import (
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from proxy.config import PriceConfig, ProviderConfig, TargetConfig

Source = Literal["config", "table", "simulated"]

#: Kinds that say by themselves who sends the bill. `openai` does only where no other address is given: many speak it.
_KINDS: Final[Mapping[str, str]] = {"anthropic": "anthropic", "azure": "azure"}
_DAY: Final = timedelta(days=1)
_NOTHING: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per million tokens, for each of the disjoint parts that the tokens of a call fall into."""

    input: Decimal  #: neither read from the provider's cache nor written to it
    output: Decimal
    cached_input: Decimal  #: read from the provider's cache
    cache_write: Decimal  #: written to it, for five minutes or as long as the provider likes
    cache_write_1h: Decimal  #: written to it for an hour
    audio_input: Decimal
    reasoning: Decimal
    audio_output: Decimal

    @classmethod
    def of(
        cls,
        input: Decimal,
        output: Decimal,
        *,
        cached_input: Decimal | None = None,
        cache_write: Decimal | None = None,
        cache_write_1h: Decimal | None = None,
        audio_input: Decimal | None = None,
        reasoning: Decimal | None = None,
        audio_output: Decimal | None = None,
    ) -> Self:
        """With None for what is not priced apart: it costs what the part costs that it belongs to."""
        write = input if cache_write is None else cache_write
        return cls(
            input,
            output,
            input if cached_input is None else cached_input,
            write,
            write if cache_write_1h is None else cache_write_1h,
            input if audio_input is None else audio_input,
            output if reasoning is None else reasoning,
            output if audio_output is None else audio_output,
        )


@dataclass(frozen=True, slots=True)
class Tier:
    """Dearer rates for a call with a long input: for all of its tokens, not only for those above."""

    above_tokens: int  #: of input, cached ones included
    rates: Rates


@dataclass(frozen=True, slots=True)
class Prices:
    """What a model costs from some moment on."""

    rates: Rates
    source: Source
    version: str  #: names these very figures for good: other figures, another version
    tiers: tuple[Tier, ...] = ()  #: by `above_tokens`, ascending
    per_call_usd: Decimal = _NOTHING  #: on top of the tokens
    until: datetime | None = None  #: from then on others may be in force; None: until the data change


class PriceTable:
    """Prices by provider, model and date."""

    def __init__(self, data: Callable[[], DataSnapshot] = get_snapshot) -> None:
        """`data` is asked when the first price is looked up: reading it takes 20 ms and 4 MB, for whoever needs it."""
        self._data = data

    def price_of(self, provider: ProviderConfig, target: TargetConfig, at: datetime) -> Prices | None:
        """What a target costs at a moment (UTC): by the config, if it has a price there, else by the table.

        None: nobody knows. What is simulated costs nothing.
        """
        if target.price_usd_per_mtok is not None:
            return _of_config(target.price_usd_per_mtok)
        if provider.kind == "demo":
            return Prices(Rates.of(_NOTHING, _NOTHING), "simulated", "simulated")
        return self.find(provider.kind, provider.base_url, target.model, at)

    def find(self, kind: str, base_url: str, model: str, at: datetime) -> Prices | None:
        """The table's price of a provider's model at a moment (UTC); None if it has none.

        Who bills is told by the address, then by the kind; never by how a server talks, which says nothing of what it
        takes. Names are matched as the data say: with dates at their end, and other spellings. Cost: 15 µs for most
        providers, 1 ms for one with a thousand models; then it is remembered.
        """
        if kind == "demo":
            return None
        data = self._data()
        provider = _biller(data, kind, base_url)
        if provider is None:
            return None
        try:
            _, found = data.find_provider_model(model, provider, None, None)
        except LookupError:
            return None
        price = found.get_prices(at)
        rates = _rates(price, 0)
        if rates is None:
            return None
        tiers = _tiers(price)
        per_call_usd = (_rate(price, "requests_kcount", 0) or _NOTHING) / 1000
        digest = _digest((rates, tiers, per_call_usd))
        version = f"genai-prices-{_table_version}:{provider.id}/{found.id}:{digest}"
        return Prices(rates, "table", version, tiers, per_call_usd, _until(found, at))

    def knows(self, provider: Mapping[str, object], model: str, *, at: datetime) -> bool:
        """Is there a price in the table? `provider` is its section of a config that may yet have faults."""
        kind, base_url = provider.get("kind"), provider.get("base_url", "")
        if not isinstance(kind, str) or not isinstance(base_url, str):
            return False
        return self.find(kind, base_url, model, at) is not None


def _of_config(price: PriceConfig) -> Prices:
    rates = Rates.of(
        price.input,
        price.output,
        cached_input=price.cached_input,
        cache_write=price.cache_write,
        audio_input=price.audio_input,
        reasoning=price.reasoning,
        audio_output=price.audio_output,
    )
    return Prices(rates, "config", f"config:{_digest(rates)}")


def _biller(data: DataSnapshot, kind: str, base_url: str) -> Provider | None:
    try:
        if base_url:
            return data.find_provider(None, None, base_url)
        if kind == "openai":
            return data.find_provider(None, "openai", None)
    except LookupError:  # an address that the data do not know
        pass
    return data.find_provider(None, _KINDS[kind], None) if kind in _KINDS else None


def _rates(price: ModelPrice, above_tokens: int) -> Rates | None:
    """The rates for an input just above so many tokens; None for a model that is not billed by its input tokens."""
    input_rate = _rate(price, "input_mtok", above_tokens)
    if input_rate is None:
        return None
    return Rates.of(
        input_rate,
        _rate(price, "output_mtok", above_tokens) or _NOTHING,  # embeddings have no output
        cached_input=_rate(price, "cache_read_mtok", above_tokens),
        cache_write=_rate(price, "cache_write_mtok", above_tokens),
        cache_write_1h=_rate(price, "cache_write_1h_mtok", above_tokens),
        audio_input=_rate(price, "input_audio_mtok", above_tokens),
        reasoning=_rate(price, "output_reasoning_mtok", above_tokens),
        audio_output=_rate(price, "output_audio_mtok", above_tokens),
    )


def _rate(price: ModelPrice, name: str, above_tokens: int) -> Decimal | None:
    value: object = getattr(price, name)
    if isinstance(value, TieredPrices):
        reached = [tier.price for tier in value.tiers if tier.start <= above_tokens]  # ascending
        return reached[-1] if above_tokens and reached else value.base
    return value if isinstance(value, Decimal) else None


def _tiers(price: ModelPrice) -> tuple[Tier, ...]:
    steps = {tier.start for value in vars(price).values() if isinstance(value, TieredPrices) for tier in value.tiers}
    return tuple(Tier(above, rates) for above in sorted(steps) if (rates := _rates(price, above)) is not None)


def _until(model: ModelInfo, at: datetime) -> datetime | None:
    """The next moment at which another of the model's prices may come into force."""
    changes = []
    for conditional in model.prices if isinstance(model.prices, list) else ():
        constraint = conditional.constraint
        if isinstance(constraint, StartDateConstraint):
            start = datetime.combine(constraint.start_date, time(), UTC)
            changes += [start] if start > at else []
        elif isinstance(constraint, TimeOfDateConstraint):
            changes += [_next(edge, at) for edge in (constraint.start_time, constraint.end_time)]
    return min(changes, default=None)


def _next(edge: time, at: datetime) -> datetime:
    """The next time that it is so late of the day, after `at`."""
    moment = datetime.combine(at.date(), edge, edge.tzinfo or UTC)
    return at + ((moment - at) % _DAY or _DAY)


def _digest(figures: object) -> str:
    """Eight hex digits of the figures; 1, 1.0 and 1.00 are one."""
    return sha256(repr(_plain(figures)).encode()).hexdigest()[:8]


def _plain(figures: object) -> object:
    if isinstance(figures, Decimal):
        return f"{figures.normalize():f}"
    if isinstance(figures, Rates):
        return {name: _plain(value) for name, value in asdict(figures).items()}
    if isinstance(figures, Tier):
        return [figures.above_tokens, _plain(figures.rates)]
    return [_plain(part) for part in figures] if isinstance(figures, tuple) else figures
