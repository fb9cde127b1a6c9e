"""The composition root: builds a whole world from a config, and swaps worlds when the config changes. The only file
that knows every room.

A world is the providers, models, teams and chain of one config. A reload builds the next one aside and swaps one
reference: calls in flight finish on the world they began in, connections of unchanged providers are carried over, and
a config that does not hold leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from time import monotonic, time

from proxy.accounting import Limits, MeterName, PriceBook, PriceTable, TokenCounter
from proxy.api import Exchange, Surface
from proxy.chain import (
    Admission,
    AdmissionSettings,
    Admit,
    Auth,
    Catalogue,
    Engine,
    Fallback,
    History,
    Limiter,
    Meters,
    Model,
    Route,
    Static,
    TierRule,
    Tiers,
    Trace,
    build_chain,
    group_of,
    lacks_of,
    name_target,
)
from proxy.config import Config, ConfigFaults, FallbackConfig, Fault, Loaded, ModelConfig, SloConfig
from proxy.keyring import admin_keyring, client_keyring
from proxy.observe import CallLog, Metrics
from proxy.providers import Patience, Provider, build_provider
from routing import Fleet, RetrySettings, Router

#: How often a retired world is asked whether its last call has ended, in seconds.
_RETIRE_POLL_S = 0.1

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is built from one config."""

    config: Config
    surface: Surface
    providers: Mapping[str, Provider]


class Gateway:
    """Holds the world in force, and what outlives worlds: metrics, the log, the last calls' plans, the exchanges under
    way.
    """

    def __init__(self, load: Callable[[], Loaded], metrics: Metrics, log: CallLog) -> None:
        """`load` reads and verifies the config as it stands; it raises ConfigFaults, here as on every reload."""
        self._load = load
        self._metrics = metrics
        self._history = History()
        self._trace = Trace(metrics, log, monotonic, self._history)
        self._fleet = Fleet()
        self._price_table = PriceTable()
        self._tokens = TokenCounter()
        self._meters = Meters(monotonic)
        self._retiring: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self.exchanges: set[Exchange] = set()
        self.draining = False
        metrics.watch_breakers(self._breakers)
        loaded = load()
        self._admission = Admission(_admission_of(loaded.config), self._fleet, metrics, monotonic)
        self._world = self._build(loaded, {}, None)
        metrics.config_loaded(loaded.config_hash)

    @property
    def surface(self) -> Surface:
        """See `Desk.surface`."""
        return self._world.surface

    @property
    def config(self) -> Config:
        """The config in force."""
        return self._world.config

    async def check(self) -> tuple[Fault, ...]:
        """See `Reloader.check`."""
        return (await asyncio.to_thread(self._load)).warnings

    async def reload(self) -> bool:
        """See `Reloader.reload`."""
        async with self._reloading:
            try:
                loaded = await asyncio.to_thread(self._load)
            except ConfigFaults as error:
                self._metrics.config_reloaded(ok=False)
                _logger.error("config rejected, the old one stays in force:\n%s", error)
                raise
            old = self._world
            if loaded.config == old.config:
                return False
            self._world = self._build(loaded, old.providers, old.config)
            self._admission.adapt(_admission_of(loaded.config))
            self._metrics.config_reloaded(ok=True)
            self._metrics.config_loaded(loaded.config_hash)
            _logger.info("config %s is in force (was %s)", loaded.config_hash, old.surface.config_hash)
            task = asyncio.create_task(self._retire(old, self._world))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
            return True

    def stop_exchanges(self) -> int:
        """End every call that is still under way with an error it can retry on; how many there were."""
        exchanges = list(self.exchanges)
        for exchange in exchanges:
            exchange.stop("draining")
        return len(exchanges)

    async def aclose(self) -> None:
        """Close every provider. Call it when no exchange is left."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        for provider in self._world.providers.values():
            await provider.aclose()
        self._tokens.close()

    def _build(self, loaded: Loaded, old_providers: Mapping[str, Provider], old: Config | None) -> World:
        config = loaded.config
        for warning in loaded.warnings:
            _logger.warning("config: %s", warning)
        providers = {
            name: old_providers[name]
            if old is not None and old.providers.get(name) == settings
            else build_provider(name, settings)
            for name, settings in config.providers.items()
        }
        catalogue = Catalogue([_describe_model(name, settings) for name, settings in config.models.items()])
        book = PriceBook(config, self._price_table, time())
        router = Router(
            {name: group_of(name, settings, book, time()) for name, settings in config.models.items()}, self._fleet
        )
        keyring = client_keyring(config.teams)
        engine = Engine(
            router,
            providers,
            self._metrics,
            monotonic,
            Random(),
            tariff_of=lambda model, target: book.tariff(model, target, time()),
        )
        route = Route(engine, catalogue, self._metrics)
        surface = Surface(
            handler=build_chain(
                self._trace,
                Auth(keyring, catalogue, time),
                self._limiter(config),
                _tiers_of(config.models, self._metrics),
                Admit(self._admission, catalogue),
                route,
            ),
            catalogue=catalogue,
            keyring=keyring,
            admins=admin_keyring(config.admin),
            trace=self._trace,
            metrics=self._metrics,
            router=router,
            history=self._history,
            book=book,
            tokens=self._tokens,
            max_body_bytes=config.server.max_body_bytes,
            comment_every_s=config.server.keepalive_comment_s,
            config_hash=loaded.config_hash,
            loaded_at=time(),
        )
        return World(config, surface, providers)

    def _limiter(self, config: Config) -> Limiter | None:
        limits = _limits_of(config)
        self._meters.adapt(limits)
        return Limiter(self._meters, limits, self._metrics) if limits else None

    def _breakers(self) -> Iterator[tuple[str, str]]:
        now = monotonic()
        return ((name, self._fleet[name].breaker.state(now)) for name in self._fleet)

    async def _retire(self, old: World, new: World) -> None:
        """Close the providers that only the old world knew, once its last call has ended."""
        dropped = [provider for name, provider in old.providers.items() if new.providers.get(name) is not provider]
        served = set(self.exchanges)  # every one of them began on the old world, or on one before it
        while served & self.exchanges:
            await asyncio.sleep(_RETIRE_POLL_S)
        for provider in dropped:
            await provider.aclose()
        if len(self._retiring) > 1:
            return  # an older or a newer world is still in use: the last to retire tidies up
        self._fleet.keep_only(
            name_target(target) for settings in self._world.config.models.values() for target in settings.targets
        )
        self._meters.tidy()


def _tiers_of(models: Mapping[str, ModelConfig], metrics: Metrics) -> Tiers | None:
    rules = {
        name: TierRule(tier.simple, tier.hard, tier.simple_below, tier.hard_above, tier.shadow)
        for name, settings in models.items()
        if (tier := settings.tier) is not None
    }
    return Tiers(rules, metrics) if rules else None


def _limits_of(config: Config) -> dict[MeterName, Limits]:
    """By team, and by team and key; only where there is a limit."""
    stated = {(team,): settings.limits for team, settings in config.teams.items()} | {
        (team, key.name): key.limits for team, settings in config.teams.items() for key in settings.keys
    }
    limits = {name: Limits(one.rpm, one.tpm, one.concurrency) for name, one in stated.items() if one is not None}
    return {name: one for name, one in limits.items() if one.any}


def _admission_of(config: Config) -> AdmissionSettings:
    settings = config.server.admission
    return AdmissionSettings(settings.concurrency, settings.queue, settings.max_wait_s)


def _describe_model(name: str, settings: ModelConfig) -> Model:
    timeouts, retries = settings.timeouts, settings.retries
    contexts = [target.context for target in settings.targets if target.context is not None]
    return Model(
        name=name,
        aliases=tuple(settings.aliases),
        patience=Patience(timeouts.connect_s, timeouts.first_token_s, timeouts.idle_s, timeouts.total_s),
        commit_after_s=timeouts.commit_after_s,
        fallbacks=tuple(
            Fallback(fallback.on, fallback.model, _static_of(fallback))
            for fallback in settings.fallbacks
            if fallback.cache is None
        ),
        retries=RetrySettings(retries.max_attempts, retries.max_ratio),
        ttft_s=(settings.slo or SloConfig()).ttft_s,
        is_chosen=settings.strategy not in ("round_robin", "weighted")
        or any(target.capacity.tpm or target.context or lacks_of(target) for target in settings.targets),
        is_hedged=settings.hedge.max_extra_cost > 0,
        is_rescued=settings.rescue,
        least_context=min(contexts, default=None),
        counted_as=settings.targets[0].model,
    )


def _static_of(settings: FallbackConfig) -> Static | None:
    return None if settings.static is None else Static(settings.static, settings.status or 200)
