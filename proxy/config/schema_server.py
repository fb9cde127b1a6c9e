"""The sections about the process itself: `server`, `state`, `accounting`, `cache`, `notify`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from proxy.config.schema_fields import Listen, Section, Text
from proxy.config.schema_units import Bytes, Count, Seconds

_Positive = Field(gt=0)


class LogConfig(Section):
    """How log lines look."""

    format: Literal["auto", "json", "text"] = Field(
        "auto", description="json, text, or auto: text on a terminal, else JSON."
    )


class ServerConfig(Section):
    """Where the gateway listens, and how patient it is with clients. Read once, at start."""

    listen: Listen = Field("127.0.0.1:8080", validate_default=True, description="Address for clients, host:port.")
    admin_listen: Listen | None = Field(
        "127.0.0.1:9090", validate_default=True, description="Address for /metrics and /admin; null switches it off."
    )
    workers: int = Field(1, ge=1, le=256, description="Worker processes; more than one needs state on Redis.")
    trusted_proxies: tuple[Text, ...] = Field((), description="Addresses whose X-Forwarded-For is believed.")
    max_body_bytes: Annotated[Bytes, Field(ge=1_000, le=1_000_000_000)] = Field(
        20_000_000, alias="max_body", description="Largest request body."
    )
    drain_delay_s: Annotated[Seconds, Field(ge=0, le=600)] = Field(
        5.0,
        alias="drain_delay",
        description="How long new calls are still taken after SIGTERM, while /readyz says 503.",
    )
    drain_s: Annotated[Seconds, Field(ge=0, le=86_400)] = Field(
        60.0, alias="drain", description="How long calls in flight may then take to finish."
    )
    keepalive_comment_s: Annotated[Seconds, Field(ge=0.01, le=3600)] = Field(
        15.0,
        alias="keepalive_comment",
        description="A silent stream gets a comment this often, so that no hop cuts it.",
    )
    header_timeout_s: Annotated[Seconds, Field(ge=0.1, le=3600)] = Field(
        10.0, alias="header_timeout", description="How long a client may take over its request's headers."
    )
    body_timeout_s: Annotated[Seconds, Field(ge=0.1, le=3600)] = Field(
        30.0,
        alias="body_timeout",
        description="How long a client may take over its body, on top of 1 s for every 10 KB.",
    )
    client_write_timeout_s: Annotated[Seconds, Field(ge=0.1, le=86_400)] = Field(
        60.0, alias="client_write_timeout", description="How long a client may leave its answer unread."
    )
    max_connections: Annotated[Count, Field(ge=1)] = Field(
        10_000, description="Client connections at once; one more gets a 503."
    )
    log: LogConfig = Field(LogConfig(), description="How log lines look.")


class RetainConfig(Section):
    """How long records are kept."""

    requests_s: Annotated[Seconds, _Positive] = Field(90 * 86_400.0, alias="requests", description="Single calls.")
    rollups_s: Annotated[Seconds, _Positive] = Field(
        3 * 365 * 86_400.0, alias="rollups", description="Sums by hour, day, month."
    )


class StateConfig(Section):
    """Where counters, budgets and the ledger live."""

    url: Text = Field(
        "sqlite:///waystation.db", pattern=r"^(sqlite:///|rediss?(\+\w+)?://).+", description="Database URL."
    )
    journal: Text = Field("journal", description="Directory of the write-ahead journal.")
    cache_url: Text | None = Field(None, description="A Redis of its own for the cache; null uses url.")
    retain: RetainConfig = Field(RetainConfig(), description="How long records are kept.")


class AccountingConfig(Section):
    """How calls are counted."""

    timezone: Text = Field("UTC", description="Time zone of days, weeks and months in quotas and reports.")
    unpriced: Literal["warn", "refuse"] = Field("warn", description="What happens to a call whose model has no price.")
    tag_keys: tuple[Text, ...] = Field((), description="Tags that calls may carry.")


class CacheConfig(Section):
    """What all caches share."""

    memory_bytes: Bytes = Field(256_000_000, alias="memory", description="Memory for cached answers.")


class NotifyConfig(Section):
    """Who is told of quota warnings, breakers and keys."""

    webhook: Text | None = Field(None, pattern=r"^https?://", description="URL that gets a POST; null is nobody.")
