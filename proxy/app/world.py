"""Builds a world: the providers, models, teams and chain of one config."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from time import monotonic, time

from proxy.accounting import Calendar, PriceBook, PriceTable, Quotas, TokenCounter, terms_of
from proxy.accounting.journal import Journal
from proxy.api import ReadingRoom, Surface, open_reports
from proxy.call import Call
from proxy.chain import (
    Admission,
    Admit,
    Allotments,
    Auth,
    Bookkeeper,
    CacheState,
    Caching,
    Catalogue,
    Chains,
    Claims,
    Embedders,
    Engine,
    FleetNews,
    Grants,
    History,
    Limiter,
    Meters,
    Picture,
    Route,
    Scale,
    Share,
    Spending,
    TagReader,
    Tiers,
    Trace,
    build_chain,
    cache_rules_of,
    caching_of,
    group_of,
    limits_of,
    model_of,
    rates_of,
    scales_of,
    tier_rules_of,
)
from proxy.config import Config, Loaded
from proxy.keyring import admin_keyring, client_keyring
from proxy.observe import Metrics
from proxy.providers import Provider, build_providers
from proxy.state import ClaimStore, Intent, LedgerReports, Registry
from proxy.wire.embeddings import EmbeddingsRequest
from routing import Fleet, Router

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is built from one config."""

    config: Config
    surface: Surface
    providers: Mapping[str, Provider]


@dataclass(frozen=True, slots=True)
class Lasting:
    """What outlives worlds, and each new one is built on."""

    metrics: Metrics
    history: History
    trace: Trace
    fleet: Fleet
    admission: Admission
    meters: Meters
    quotas: Quotas
    grants: Grants
    cache: CacheState
    journal: Journal | None
    registry: Registry | None
    price_table: PriceTable
    tokens: TokenCounter
    reading_room: ReadingRoom
    calendar: Calendar
    claims: ClaimStore | None  #: None: rates and quotas are counted by this process alone
    picture: Picture | None
    allotments: Allotments
    replicas: Callable[[], int]
    fleet_news: FleetNews | None
    reports: LedgerReports | None


def build_world(lasting: Lasting, loaded: Loaded, old: World | None) -> World:
    """The world of a config. Providers whose settings did not change come from the old one, with their connections."""
    config = loaded.config
    _warn(loaded)
    providers = build_providers(config, {} if old is None else old.providers, None if old is None else old.config)
    catalogue = Catalogue([model_of(name, settings) for name, settings in config.models.items()])
    book = PriceBook(config, lasting.price_table, time())
    router = Router({name: group_of(name, config, book, time()) for name in config.models}, lasting.fleet)
    keyring = client_keyring(config.teams, lasting.registry)
    engine = Engine(router, providers, lasting.metrics, monotonic, Random(), price_of=book.tariff_now)
    chains = _chains(lasting, config, Auth(keyring, catalogue, time), catalogue, engine, book)
    surface = Surface(
        handler=chains.chat,
        embeddings=chains.embeddings,
        catalogue=catalogue,
        keyring=keyring,
        admins=admin_keyring(config.admin),
        trace=lasting.trace,
        metrics=lasting.metrics,
        router=router,
        history=lasting.history,
        book=book,
        tokens=lasting.tokens,
        quotas=lasting.quotas,
        grants=lasting.grants,
        teams=config.teams,
        registry=lasting.registry,
        max_body_bytes=config.server.max_body_bytes,
        comment_every_s=config.server.keepalive_comment_s,
        config_hash=loaded.config_hash,
        loaded_at=time(),
        cache=lasting.cache,
        reports=open_reports(config, lasting.reading_room, lasting.reports),
        picture=lasting.picture,
        fleet_news=lasting.fleet_news,
    )
    return World(config, surface, providers)


def _chains(
    lasting: Lasting, config: Config, auth: Auth, catalogue: Catalogue, engine: Engine, book: PriceBook
) -> Chains:
    scales, rules = scales_of(config, book), cache_rules_of(config)
    bookkeeper = _bookkeeper(lasting, config, scales)
    lasting.cache.adapt(config, rules)
    caching = caching_of(rules, lasting.cache, catalogue, bookkeeper.intend)
    embedders = Embedders.over(engine, catalogue, rules, lasting.cache, monotonic)
    return build_chain(
        lasting.trace,
        bookkeeper,
        auth,
        _limiter(lasting, config),
        _tiers(lasting, config),
        _spending(lasting, config, scales, rules),
        caching,
        Admit(lasting.admission, catalogue),
        Route(engine, catalogue, lasting.metrics),
        embedders,
        _claims(lasting, config, scales, caching, embedders, bookkeeper.intent_of),
    )


def _warn(loaded: Loaded) -> None:
    for warning in loaded.warnings:
        _logger.warning("config: %s", warning)


def _limiter(lasting: Lasting, config: Config) -> Limiter | None:
    if lasting.claims is not None:
        return None
    limits = limits_of(config)
    lasting.meters.adapt(limits)
    return Limiter(lasting.meters, limits, lasting.metrics) if limits else None


def _tiers(lasting: Lasting, config: Config) -> Tiers | None:
    rules = tier_rules_of(config.models)
    return Tiers(rules, lasting.metrics) if rules else None


def _bookkeeper(lasting: Lasting, config: Config, scales: Mapping[str, Scale]) -> Bookkeeper:
    cost_centers = {name: team.cost_center for name, team in config.teams.items() if team.cost_center is not None}
    tags = TagReader(config.accounting.tag_keys)
    return Bookkeeper(lasting.journal, lasting.quotas, scales, cost_centers, tags, monotonic, time)


def _spending(lasting: Lasting, config: Config, scales: Mapping[str, Scale], cached: Container[str]) -> Spending | None:
    terms = terms_of(config)
    lasting.quotas.adapt(terms)
    lasting.grants.advance(time())
    parts = lasting.quotas, lasting.grants, scales, lasting.journal, lasting.metrics, time, cached
    return Spending(*parts) if terms and lasting.claims is None else None


def _claims(
    lasting: Lasting,
    config: Config,
    scales: Mapping[str, Scale],
    caching: Caching | None,
    embedders: Embedders,
    intent_of: Callable[[Call], Intent],
) -> Claims | None:
    if lasting.claims is None:
        return None
    limits, away = limits_of(config), config.state.away
    grant = float(away.grant) if away.quotas == "grant" else None
    return Claims(
        store=lasting.claims,
        share=Share(lasting.meters, limits, lasting.allotments, grant, lasting.replicas, lasting.metrics),
        rates=rates_of(limits),
        meters=lasting.meters,
        quotas=lasting.quotas,
        grants=lasting.grants,
        scales=scales,
        calendar=lasting.calendar,
        journal=lasting.journal,
        intent_of=intent_of,
        metrics=lasting.metrics,
        wall_clock=time,
        cached=() if caching is None else caching.rules,
        prefetch=None if caching is None else partial(_prefetch, caching, embedders),
    )


def _prefetch(caching: Caching, embedders: Embedders, call: Call) -> None:
    layer = embedders.cached if isinstance(call.request, EmbeddingsRequest) else caching
    layer.prefetch(call)
