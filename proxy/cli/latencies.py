"""How fast the targets of a config are taken to be in a simulation, and how that is known: measured by a running
gateway, said by the config of a simulated provider, or assumed from the price.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from pathlib import Path
from typing import Final, Literal

from proxy.config import ProviderConfig
from proxy.providers import simulated_profile
from routing import Target
from routing.simulate import Fault, Profile

#: What is assumed of the cheapest target and of the dearest one; between them, evenly by the rank of the price, on a
#: logarithmic scale. Plausible, no more: they tell strategies apart, not providers.
_CHEAPEST: Final = (0.85, 0.17, 25.0)
_DEAREST: Final = (0.35, 0.06, 110.0)
_ASSUMED_SIGMA: Final = 0.45
#: A target with fewer first tokens than this has not been measured.
_LEAST_SAMPLES: Final = 5
_MOST_TOKENS_PER_S: Final = 10_000.0
_NEVER_S: Final = (1e9, 1e9)


@dataclass(frozen=True, slots=True)
class Latency:
    """One target's. Times in seconds, rates 0..1."""

    source: Literal["measured", "simulated", "assumed"]
    base_s: float
    per_ktok_s: float
    tokens_per_s: float
    sigma: float  #: of the logarithm of the time to the first token
    error_rate: float = 0.0
    cut_rate: float = 0.0
    hang_rate: float = 0.0

    def profile(self, target: Target) -> Profile:
        """The target as the simulator plays it."""
        return Profile(target, self.base_s, self.per_ktok_s, self.tokens_per_s, ttft_sigma=self.sigma)


def assume(targets: Iterable[Target]) -> dict[str, Latency]:
    """By the target's name: the cheaper, the slower. Who has no price stands in the middle."""
    usual = {target.name: _usual_usd(target) for target in targets}
    prices = sorted({price for price in usual.values() if price is not None})
    ranks = {price: rank / (len(prices) - 1) for rank, price in enumerate(prices)} if len(prices) > 1 else {}
    return {name: _assumed(0.5 if price is None else ranks.get(price, 0.5)) for name, price in usual.items()}


def latencies(
    targets: Sequence[Target],
    providers: Mapping[str, ProviderConfig],
    measured: Mapping[str, Latency],
    assumed: Mapping[str, Latency],
) -> dict[str, Latency]:
    """What is best known of each target, by its name; `assumed` has every one of them."""
    known = {}
    for target in targets:
        simulated = _simulated(providers[target.provider])
        best = measured.get(target.name) or simulated or assumed[target.name]
        if simulated is not None:  # however it was measured, it goes on failing as its config says
            rates = (simulated.error_rate, simulated.cut_rate, simulated.hang_rate)
            best = replace(best, error_rate=rates[0], cut_rate=rates[1], hang_rate=rates[2])
        known[target.name] = best
    return known


def standing_faults(known: Mapping[str, Latency]) -> tuple[Fault, ...]:
    """What is always wrong with these targets."""
    faults = []
    for name, latency in known.items():
        # All of them look at the same draw, so each one's share begins where the one before it ends.
        hangs, fails = latency.hang_rate, latency.hang_rate + latency.error_rate
        cuts = fails + latency.cut_rate
        only = frozenset({name})
        if latency.hang_rate:
            faults.append(Fault("hangs", "error", only, 0.0, inf, min(1.0, hangs), fails_in_s=_NEVER_S))
        if latency.error_rate:
            faults.append(Fault("errors", "error", only, 0.0, inf, min(1.0, fails), fails_in_s=(0.1, 0.6)))
        if latency.cut_rate:
            faults.append(Fault("cuts", "cut", only, 0.0, inf, min(1.0, cuts)))
    return tuple(faults)


def read_measured(path: Path) -> dict[str, Latency]:
    """What a gateway measured, by target, from a saved answer of `GET /admin/v1/targets`; targets that were hardly
    asked are left out. Raises ValueError saying what is wrong.
    """
    try:
        rows = json.loads(path.read_bytes())["targets"]
        return {str(row["target"]): _measured(row) for row in rows if int(row["samples"]) >= _LEAST_SAMPLES}
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no saved answer of GET /admin/v1/targets: {error!r}") from error


def _measured(row: Mapping[str, object]) -> Latency:
    base_s, per_ktok_s, sigma = (_figure(row[name]) for name in ("base_s", "per_ktok_s", "sigma"))
    speed = row.get("tokens_per_s")
    tokens_per_s = _assumed(0.5).tokens_per_s if speed is None else max(1.0, _figure(speed))
    return Latency("measured", base_s, per_ktok_s, min(tokens_per_s, _MOST_TOKENS_PER_S), sigma)


def _figure(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise ValueError(f"expected a number of 0 or more, got {value!r}")
    return float(value)


def _simulated(settings: ProviderConfig) -> Latency | None:
    if settings.kind != "demo":
        return None
    demo = simulated_profile(settings)
    return Latency(
        "simulated",
        demo.first_token_s,
        0.0,
        min(_MOST_TOKENS_PER_S, 1 / demo.per_token_s) if demo.per_token_s else _MOST_TOKENS_PER_S,
        demo.spread,
        demo.error_rate,
        demo.cut_rate,
        demo.hang_rate,
    )


def _assumed(rank: float) -> Latency:
    """`rank`: 0 is the cheapest, 1 the dearest."""
    base_s, per_ktok_s, tokens_per_s = (
        low * (high / low) ** rank for low, high in zip(_CHEAPEST, _DEAREST, strict=True)
    )
    return Latency("assumed", base_s, per_ktok_s, tokens_per_s, _ASSUMED_SIGMA)


def _usual_usd(target: Target) -> float | None:
    return None if target.price is None else 1000 * target.price.input + 200 * target.price.output
