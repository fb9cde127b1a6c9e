"""The composition root: builds a whole world from a config, and swaps worlds when the config changes. The only file
that knows every room.

A world is the providers, models, teams and chain of one config. A reload builds the next one aside and swaps one
reference: calls in flight finish on the world they began in, connections of unchanged providers are carried over, and
a config that does not hold leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from random import Random
from time import monotonic, time

from proxy.accounting import Calendar, PriceBook, PriceTable, Quotas, Tally, TokenCounter, terms_of
from proxy.accounting.books import Books
from proxy.accounting.journal import Journal
from proxy.api import Exchange, ReadingRoom, Surface, open_reports
from proxy.cache import OpenShared, without_shared
from proxy.chain import (
    Admission,
    Admit,
    Alarms,
    Auth,
    Bookkeeper,
    CacheState,
    Catalogue,
    Embedders,
    Engine,
    Grants,
    History,
    Limiter,
    Meters,
    Route,
    Scale,
    Spending,
    TagReader,
    Tiers,
    Trace,
    admission_of,
    build_chain,
    cache_rules_of,
    caching_of,
    group_of,
    limits_of,
    model_of,
    name_target,
    scales_of,
    start_only,
    tell_of_end,
    tier_rules_of,
)
from proxy.config import Config, ConfigFaults, Fault, Loaded
from proxy.keyring import admin_keyring, client_keyring
from proxy.observe import CallLog, Metrics
from proxy.providers import Provider, Webhook, build_providers
from proxy.state import Registry
from routing import Fleet, Router

#: How often a retired world is asked whether its last call has ended, in seconds.
_RETIRE_POLL_S = 0.1
#: How often alarms are looked for, in seconds.
_LOOK_EVERY_S = 5.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is built from one config."""

    config: Config
    surface: Surface
    providers: Mapping[str, Provider]


class Gateway:
    """Holds the world in force, and what outlives worlds: metrics, the log, the last calls' plans, the exchanges under
    way, the registry of keys.
    """

    def __init__(
        self,
        load: Callable[[], Loaded],
        metrics: Metrics,
        log: CallLog,
        books: Books | None = None,
        registry: Registry | None = None,
        open_shared: OpenShared = without_shared,
    ) -> None:
        """`load` reads and verifies the config; it raises ConfigFaults, here as on every reload. Without `books`
        nothing is written down, and quotas begin anew with each start. The `registry` is closed with the gateway, and
        so is what `open_shared` gives as soon as a model has a cache.
        """
        self._load = load
        self._metrics = metrics
        self._history = History()
        self._trace = Trace(metrics, log, monotonic, self._history)
        self._fleet = Fleet()
        self._price_table = PriceTable()
        self._tokens = TokenCounter()
        self._meters = Meters(monotonic)
        self._books = books
        self._registry = registry
        self._reading_room = ReadingRoom()
        self._webhook = Webhook()
        self._alarms = Alarms(metrics, self._webhook.tell, time)
        self._quotas = Quotas(Tally(Calendar(UTC), time()) if books is None else books.tally, self._alarms.quota)
        self._grants = Grants(self._quotas, registry)
        self._cache = CacheState.empty(metrics.cache, time, open_shared)
        self._housekeeping: list[asyncio.Task[None]] = []
        self._retiring: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self.exchanges: set[Exchange] = set()
        self.draining = False
        metrics.watch_breakers(self._breakers)
        metrics.watch_accounts(self._quotas.ratios, dict if books is None else books.troubles)
        loaded = load()
        self._admission = Admission(admission_of(loaded.config), self._fleet, metrics, monotonic)
        self._world = self._build(loaded, {}, None)
        self._webhook.aim(loaded.config.notify.webhook)
        metrics.config_loaded(loaded.config_hash)

    @property
    def _journal(self) -> Journal | None:
        return None if self._books is None else self._books.journal

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
            for name in start_only(old.config, loaded.config):
                _logger.warning("config: %s is read at start only: it stays as it was until a restart", name)
            self._world = self._build(loaded, old.providers, old.config)
            self._admission.adapt(admission_of(loaded.config))
            self._webhook.aim(loaded.config.notify.webhook)
            self._metrics.config_reloaded(ok=True)
            self._metrics.config_loaded(loaded.config_hash)
            _logger.info("config %s is in force (was %s)", loaded.config_hash, old.surface.config_hash)
            task = asyncio.create_task(self._retire(old, self._world))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
            return True

    def start(self) -> None:
        """From now on do by the clock what has to be done. Needs a running event loop."""
        lasting = [self._keep_house()]
        if self._books is not None:
            lasting.append(self._books.forget_old(lambda: self.config.state.retain))
        self._housekeeping = [asyncio.create_task(one) for one in lasting]
        for task in self._housekeeping:
            task.add_done_callback(tell_of_end)

    def stop_exchanges(self) -> int:
        """End every call that is still under way with an error it can retry on; how many there were."""
        exchanges = list(self.exchanges)
        for exchange in exchanges:
            exchange.stop("draining")
        return len(exchanges)

    async def aclose(self) -> None:
        """Close every provider. Call it when no exchange is left."""
        tasks = [*self._retiring, *self._housekeeping]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(provider.aclose() for provider in self._world.providers.values()))
        self._tokens.close()
        self._reading_room.close()
        await self._webhook.aclose()
        if self._registry is not None:
            self._registry.close()
        await self._cache.aclose()

    def _build(self, loaded: Loaded, old_providers: Mapping[str, Provider], old: Config | None) -> World:
        config = loaded.config
        for warning in loaded.warnings:
            _logger.warning("config: %s", warning)
        providers = build_providers(config, old_providers, old)
        catalogue = Catalogue([model_of(name, settings) for name, settings in config.models.items()])
        book = PriceBook(config, self._price_table, time())
        router = Router({name: group_of(name, config, book, time()) for name in config.models}, self._fleet)
        keyring = client_keyring(config.teams, self._registry)
        scales = scales_of(config, book)
        engine = Engine(router, providers, self._metrics, monotonic, Random(), price_of=book.tariff_now)
        bookkeeper, rules = self._bookkeeper(config, scales), cache_rules_of(config)
        self._cache.adapt(config, rules)
        chains = build_chain(
            self._trace,
            bookkeeper,
            Auth(keyring, catalogue, time),
            self._limiter(config),
            self._tiers(config),
            self._spending(config, scales, rules),
            caching_of(rules, self._cache, catalogue, bookkeeper.intend),
            Admit(self._admission, catalogue),
            Route(engine, catalogue, self._metrics),
            Embedders.over(engine, catalogue, rules, self._cache, monotonic),
        )
        surface = Surface(
            handler=chains.chat,
            embeddings=chains.embeddings,
            catalogue=catalogue,
            keyring=keyring,
            admins=admin_keyring(config.admin),
            trace=self._trace,
            metrics=self._metrics,
            router=router,
            history=self._history,
            book=book,
            tokens=self._tokens,
            quotas=self._quotas,
            grants=self._grants,
            teams=config.teams,
            registry=self._registry,
            max_body_bytes=config.server.max_body_bytes,
            comment_every_s=config.server.keepalive_comment_s,
            config_hash=loaded.config_hash,
            loaded_at=time(),
            cache=self._cache,
            reports=open_reports(config, self._reading_room),
        )
        return World(config, surface, providers)

    def _limiter(self, config: Config) -> Limiter | None:
        limits = limits_of(config)
        self._meters.adapt(limits)
        return Limiter(self._meters, limits, self._metrics) if limits else None

    def _tiers(self, config: Config) -> Tiers | None:
        rules = tier_rules_of(config.models)
        return Tiers(rules, self._metrics) if rules else None

    def _bookkeeper(self, config: Config, scales: Mapping[str, Scale]) -> Bookkeeper:
        cost_centers = {name: team.cost_center for name, team in config.teams.items() if team.cost_center is not None}
        tags = TagReader(config.accounting.tag_keys)
        return Bookkeeper(self._journal, self._quotas, scales, cost_centers, tags, monotonic, time)

    def _spending(self, config: Config, scales: Mapping[str, Scale], cached: Container[str]) -> Spending | None:
        terms = terms_of(config)
        self._quotas.adapt(terms)
        self._grants.advance(time())
        parts = self._quotas, self._grants, scales, self._journal, self._metrics, time, cached
        return Spending(*parts) if terms else None

    def _breakers(self) -> Iterator[tuple[str, str]]:
        now = monotonic()
        return ((name, self._fleet[name].breaker.state(now)) for name in self._fleet)

    async def _keep_house(self) -> None:
        while True:
            self._grants.advance(time())  # where nobody calls, a period ends all the same
            credentials = (
                (name, id, standing)
                for name, provider in self._world.providers.items()
                for id, standing in provider.standings()
            )
            self._alarms.look(self._breakers(), credentials)
            await asyncio.sleep(_LOOK_EVERY_S)

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
