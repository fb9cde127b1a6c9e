"""The sections about the process itself: `server`, `state`, `accounting`, `cache`, `notify`."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from proxy.config.schema_fields import Hidden, Listen, Name, Section, Text, UrlWithUser, written
from proxy.config.schema_units import Bytes, Count, Seconds, Share, Whole, between

_REDIS: Final = r"rediss?(\+sentinel|\+cluster)?://[^\s]+"


def _state_url(value: str) -> str:
    if not re.fullmatch(rf"sqlite:///[^\s]+|{_REDIS}", value):
        raise ValueError(
            "expected sqlite:///FILE, redis://HOST:PORT/DB or one of its forms: rediss, +sentinel, +cluster"
        )
    return value


def _redis_url(value: str) -> str:
    if not re.fullmatch(_REDIS, value):
        raise ValueError("expected redis://HOST:PORT/DB or one of its forms: rediss, +sentinel, +cluster")
    return value


def _namespace(value: str) -> str:
    if "/" in value:  # what follows it in a key's name is the team, whose name may hold one
        raise ValueError("expected a name without /")
    return value


def _web_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]\S*", value):
        raise ValueError("expected an http or https URL")
    return value


_Patience = Annotated[Seconds, between("100ms", "1h")]


class LogConfig(Section):
    """How log lines look."""

    format: Literal["auto", "json", "text"] = Field(
        "auto", description="json, text, or auto: text on a terminal, else JSON."
    )


class AdmissionConfig(Section):
    """How many calls are served at once, and how long others wait their turn."""

    concurrency: Annotated[Count, Field(ge=1)] = written("5k", description="Calls served at once.")
    queue: Count = written("1k", description="Calls that may wait for their turn; 0 refuses them at once.")
    max_wait_s: Annotated[Seconds, between("0s", "1h")] = written(
        "10s", alias="max_wait", description="How long a call may wait for its turn; then it gets a 503."
    )


class ServerConfig(Section):
    """Where the gateway listens, and how patient it is with clients. Read once, at start, but for `max_body`,
    `keepalive_comment` and `admission`.
    """

    listen: Listen = written("127.0.0.1:8080", description="Address for clients, host:port.")
    admin_listen: Listen | None = written(
        "127.0.0.1:9090", description="Address for /metrics and /admin; null switches it off."
    )
    workers: Whole = Field(1, ge=1, le=256, description="Worker processes; more than one needs state on Redis.")
    trusted_proxies: tuple[Text, ...] = Field((), description="Addresses whose X-Forwarded-For is believed.")
    max_body_bytes: Annotated[Bytes, between("1KB", "1GB")] = written(
        "20MB", alias="max_body", description="Largest request body."
    )
    drain_delay_s: Annotated[Seconds, between("0s", "10m")] = written(
        "5s",
        alias="drain_delay",
        description="How long new calls are still taken after SIGTERM, while /readyz says 503.",
    )
    drain_s: Annotated[Seconds, between("0s", "1d")] = written(
        "60s", alias="drain", description="How long calls in flight may then take to finish."
    )
    keepalive_comment_s: Annotated[Seconds, between("10ms", "1h")] = written(
        "15s",
        alias="keepalive_comment",
        description="A silent stream gets a comment this often, so that no hop cuts it.",
    )
    header_timeout_s: _Patience = written(
        "10s", alias="header_timeout", description="How long a client may take over its request's headers."
    )
    body_timeout_s: _Patience = written(
        "30s",
        alias="body_timeout",
        description="How long a client may take over its body, on top of 1 s for every 10 KB.",
    )
    client_write_timeout_s: Annotated[Seconds, between("100ms", "1d")] = written(
        "60s", alias="client_write_timeout", description="How long a client may leave its answer unread."
    )
    max_connections: Annotated[Count, Field(ge=1)] = written(
        "10k", description="Client connections at once; one more gets a 503."
    )
    admission: AdmissionConfig = Field(
        AdmissionConfig(), description="How many calls are served at once, and how long others wait."
    )
    log: LogConfig = Field(LogConfig(), description="How log lines look.")


class RetainConfig(Section):
    """How long records are kept."""

    requests_s: Annotated[Seconds, between("1h", "100y")] = written(
        "90d", alias="requests", description="Single calls."
    )
    rollups_s: Annotated[Seconds, between("1h", "100y")] = written(
        "3y", alias="rollups", description="Sums by hour, day, month."
    )


class AwayConfig(Section):
    """What happens while the Redis of `url` can't be asked."""

    quotas: Literal["grant", "refuse"] = Field(
        "grant",
        description="Calls with a quota: grant lets each replica spend a share of it; refuse ends them with a 503.",
    )
    grant: Annotated[Share, Field(gt=0, le=1)] = written(
        "1%", description="Of each quota, what all replicas together may spend until Redis is back."
    )


class StateConfig(Section):
    """Where counters, budgets and the ledger live. Read once, at start, but for `retain` and `away`."""

    url: Annotated[UrlWithUser, AfterValidator(_state_url)] = Field(
        "sqlite:///waystation.db", repr=False, description="Database: sqlite:///FILE or redis://HOST:PORT/DB."
    )
    journal: Text = Field("journal", description="Directory of the write-ahead journal.")
    cache_url: Annotated[UrlWithUser, AfterValidator(_redis_url)] | None = Field(
        None,
        repr=False,
        description="A Redis of its own for the cache, which may evict; null uses url.",
    )
    namespace: Annotated[Name, AfterValidator(_namespace)] = Field(
        "waystation", description="What the names of all keys in Redis begin with: one for each fleet of gateways."
    )
    timeout_s: Annotated[Seconds, between("5ms", "10s")] = written(
        "50ms", alias="timeout", description="How long a call waits for Redis before it goes on without."
    )
    away: AwayConfig = Field(AwayConfig(), description="What happens while Redis can't be asked.")
    retain: RetainConfig = Field(RetainConfig(), description="How long records are kept.")


class AccountingConfig(Section):
    """How calls are counted."""

    timezone: Text = Field("UTC", description="Time zone of days, weeks and months in quotas and reports.")
    unpriced: Literal["warn", "refuse"] = Field(
        "warn", description="A target without a price: warn, and its calls count as zero; or refuse the config."
    )
    tag_keys: tuple[Name, ...] = Field((), description="Tags that calls may carry, in the header x-waystation-tags.")


class EmbedderConfig(Section):
    """Who makes the vectors of questions, if not the model inside the gateway."""

    provider: Name = Field(description="A configured provider of kind openai or azure.")
    model: Text = Field(description="What the provider calls the model, or its deployment.")
    dimensions: Whole = Field(ge=16, le=8192, description="Numbers in one of its vectors.")


class CacheConfig(Section):
    """What all caches share."""

    memory_bytes: Annotated[Bytes, between("1MB", "1000GB")] = written(
        "256MB", alias="memory", description="Memory for cached answers."
    )
    shared_bytes: Annotated[Bytes, between("1MB", "1000GB")] | None = written(
        "1GB",
        alias="shared",
        description="Room for them in a file beside the state's; null: none. A Redis has its own. Read once, at start.",
    )
    embedder: EmbedderConfig | None = Field(
        None, description="Who makes the vectors of questions; null: a model inside. Read once, at start."
    )


class NotifyConfig(Section):
    """Who is told of quota warnings, breakers and keys."""

    webhook: Annotated[Hidden, AfterValidator(_web_url)] | None = Field(
        None, repr=False, description="URL that gets a POST; null is nobody."
    )
