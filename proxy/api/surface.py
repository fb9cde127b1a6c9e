"""What the HTTP face needs of a world, and nothing more. A reload swaps the whole of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import Protocol

from proxy.accounting import PriceBook, Quotas, TokenCounter
from proxy.api.reading import Reports
from proxy.api.respond import Exchange
from proxy.call import Handler, Principal, RequestHeaders
from proxy.chain import CacheState, Catalogue, FleetNews, Grants, History, Picture, Trace
from proxy.config import TeamConfig
from proxy.keyring import Admin, Keyring
from proxy.observe import Crew, Metrics
from proxy.state import Registry
from routing import Router


@dataclass(frozen=True, slots=True)
class Surface:
    """One world, seen from the endpoints."""

    handler: Handler  #: of chat completions
    embeddings: Handler
    catalogue: Catalogue
    keyring: Keyring[Principal]
    admins: Keyring[Admin]
    trace: Trace
    metrics: Metrics
    router: Router
    history: History
    book: PriceBook  #: what its targets cost
    tokens: TokenCounter
    quotas: Quotas
    grants: Grants
    teams: Mapping[str, TeamConfig]  #: in the order of the config
    registry: Registry | None  #: keys made at run time, grants, the audit; None: nobody keeps any
    max_body_bytes: int
    comment_every_s: float
    config_hash: str
    loaded_at: float  #: Unix time in seconds
    cache: CacheState
    reports: Reports | None  #: None: the books can't be read here
    picture: Picture | None = None  #: of quotas that many processes count; None: this one alone does
    fleet_news: FleetNews | None = None  #: None: this gateway is alone

    def identify(self, headers: RequestHeaders) -> Principal:
        """Who is calling, by the key in the headers. Raises InvalidKey."""
        return self.keyring.find(headers, time())

    def identify_admin(self, headers: RequestHeaders) -> Admin:
        """Which operator is calling. Raises InvalidKey."""
        return self.admins.find(headers, time())


class Desk(Protocol):
    """What the endpoints share: the surface of the hour, the exchanges under way, whether we are going away, and who
    serves beside us.
    """

    exchanges: set[Exchange]
    draining: bool
    crew: Crew | None  #: None: this process is the only one

    @property
    def surface(self) -> Surface:
        """The surface in force now; hold on to what it gave for the whole of a call."""
        ...
