"""What must last, opened by the config's `state.url`: SQLite beside one process, or a Redis that many share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from proxy.accounting.books import Books, open_books
from proxy.cache import OpenShared, without_shared
from proxy.cache.opened_level import open_shared
from proxy.config import Config
from proxy.state import ClaimStore, News, Registry, StateUnusable, open_registry, sqlite_path
from proxy.state.redis_link import Link


@dataclass(frozen=True, slots=True)
class State:
    """What a gateway keeps beyond its own life."""

    books: Books | None = None  #: None: nothing is written down, and quotas begin anew with each start
    registry: Registry | None = None  #: None: no keys but the config's, no grants, no audit; closed by the gateway
    open_shared: OpenShared = without_shared  #: asked as soon as a model has a cache; closed by the gateway
    claims: ClaimStore | None = None  #: None: rates and quotas are counted by this process alone
    replicas: Callable[[], int] = lambda: 1  #: how many processes share them, when that was known last
    news: News | None = None  #: where gateways of a fleet meet; None: this one is alone; closed by the gateway
    link: Link | None = None  #: to the Redis that all of them share; started and closed by the gateway

    def close(self) -> None:
        """Write and bring in what there is; after the gateway was closed. Blocks."""
        if self.books is not None:
            self.books.close()


def open_state(config: Config, slot: int | None = None) -> State:
    """Take the state over. Blocks: as long as it takes to bring in what was left, mostly milliseconds.

    `slot`: which of several workers asks, for what each has for itself. Raises StateUnusable.
    """
    if sqlite_path(config.state.url) is None:  # Redis' client takes 0.2 s to be imported
        state: State = import_module("proxy.app.redis_state").open_redis_state(config, slot)
        return state
    books = open_books(config.state, config.accounting)
    try:
        return State(books, open_registry(config.state.url), open_shared)
    except StateUnusable:
        books.close()
        raise
