"""The running gateway: holds the world in force, and swaps worlds when the config changes.

A world is the providers, models, teams and chain of one config. A reload builds the next one aside and swaps one
reference: calls in flight finish on the world they began in, connections of unchanged providers are carried over, and
a config that does not hold leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import UTC
from time import monotonic, time

from proxy.accounting import Calendar, PriceTable, Quotas, Tally, TokenCounter
from proxy.api import Exchange, ReadingRoom, Surface
from proxy.app.state import State
from proxy.app.world import Lasting, World, build_world
from proxy.chain import (
    Admission,
    Alarms,
    Allotments,
    CacheState,
    FleetNews,
    Grants,
    History,
    Meters,
    Picture,
    Trace,
    admission_of,
    name_target,
    start_only,
    tell_of_end,
)
from proxy.config import Config, ConfigFaults, Fault, Loaded
from proxy.observe import CallLog, Crew, Metrics, ReplicaGauge
from proxy.providers import Webhook
from routing import Fleet

#: How often a retired world is asked whether its last call has ended, in seconds.
_RETIRE_POLL_S = 0.1
#: How often alarms are looked for, in seconds.
_LOOK_EVERY_S = 5.0

_logger = logging.getLogger(__name__)


class Gateway:
    """Holds the world in force, and what outlives worlds: metrics, the log, the last calls' plans, the exchanges under
    way, the state.
    """

    def __init__(
        self,
        load: Callable[[], Loaded],
        metrics: Metrics,
        log: CallLog,
        state: State | None = None,
        crew: Crew | None = None,
    ) -> None:
        """`load` reads and verifies the config; it raises ConfigFaults, here as on every reload. `state`: None keeps
        nothing. `crew`: None: no other process serves beside this one.
        """
        self._load = load
        self._metrics = metrics
        self._state = state = State() if state is None else state
        self._webhook = Webhook()
        self._alarms = Alarms(metrics, self._webhook.tell, time)
        self._picture: Picture | None = None  # None: quotas are counted by this process alone
        self._housekeeping: list[asyncio.Task[None]] = []
        self._retiring: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self.exchanges: set[Exchange] = set()
        self.draining = False
        self.crew = crew
        loaded = load()
        self._lasting = self._begin(loaded, log, state)
        metrics.watch_breakers(self._breakers)
        if state.news is not None:
            news = state.news
            metrics.registry.register(ReplicaGauge(lambda: [one.config_hash for one in news.replicas]))
        metrics.watch_accounts(self._lasting.quotas.ratios, dict if state.books is None else state.books.troubles)
        self._world = build_world(self._lasting, loaded, None)
        self._webhook.aim(loaded.config.notify.webhook)
        metrics.config_loaded(loaded.config_hash)

    def _begin(self, loaded: Loaded, log: CallLog, state: State) -> Lasting:
        metrics, books, history, fleet = self._metrics, state.books, History(), Fleet()
        calendar = Calendar(UTC) if books is None else books.calendar
        allotments = Allotments(monotonic)
        if state.claims is not None:
            self._picture = Picture(state.claims, calendar, allotments, self._alarms.quota, time)
        warn = self._alarms.quota if self._picture is None else self._picture.note
        quotas = Quotas(Tally(Calendar(UTC), time()) if books is None else books.tally, warn)
        cache = CacheState.empty(metrics.cache, time, state.open_shared)
        fleet_news = None if state.news is None else FleetNews(state.news, fleet, cache, loaded.config_hash)
        cache.others = fleet_news
        return Lasting(
            metrics=metrics,
            history=history,
            trace=Trace(metrics, log, monotonic, history),
            fleet=fleet,
            admission=Admission(admission_of(loaded.config), fleet, metrics, monotonic),
            meters=Meters(monotonic),
            quotas=quotas,
            grants=Grants(quotas, state.registry),
            cache=cache,
            journal=None if books is None else books.journal,
            registry=state.registry,
            price_table=PriceTable(),
            tokens=TokenCounter(),
            reading_room=ReadingRoom(),
            calendar=calendar,
            claims=state.claims,
            picture=self._picture,
            allotments=allotments,
            replicas=state.replicas,
            fleet_news=fleet_news,
            reports=None if books is None else books.reports,
        )

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
            self._world = build_world(self._lasting, loaded, old)
            self._lasting.admission.adapt(admission_of(loaded.config))
            self._webhook.aim(loaded.config.notify.webhook)
            self._metrics.config_reloaded(ok=True)
            self._metrics.config_loaded(loaded.config_hash)
            if self._lasting.fleet_news is not None:
                self._lasting.fleet_news.show(loaded.config_hash)
            _logger.info("config %s is in force (was %s)", loaded.config_hash, old.surface.config_hash)
            task = asyncio.create_task(self._retire(old, self._world))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
            return True

    async def start(self) -> None:
        """Reach for the state, and from now on do by the clock what has to be done."""
        if self._state.link is not None:
            await self._state.link.start()
        lasting = [self._keep_house()]
        if self._picture is not None:
            lasting.append(self._picture.run(self._lasting.quotas))
        if self._state.books is not None:
            lasting.append(self._state.books.forget_old(lambda: self.config.state.retain))
        if self._lasting.fleet_news is not None:
            lasting.append(self._lasting.fleet_news.run())
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
        self._lasting.tokens.close()
        self._lasting.reading_room.close()
        await self._webhook.aclose()
        if self._lasting.fleet_news is not None:
            await self._lasting.fleet_news.aclose()
        if self._lasting.registry is not None:
            self._lasting.registry.close()
        await self._lasting.cache.aclose()
        if self._state.link is not None:
            await self._state.link.aclose()

    def _breakers(self) -> Iterator[tuple[str, str]]:
        now = monotonic()
        return ((name, self._lasting.fleet[name].breaker.state(now)) for name in self._lasting.fleet)

    async def _keep_house(self) -> None:
        while True:
            self._lasting.grants.advance(time())  # where nobody calls, a period ends all the same
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
        self._lasting.fleet.keep_only(
            name_target(target) for settings in self._world.config.models.values() for target in settings.targets
        )
        self._lasting.meters.tidy()
