"""The sections `teams` and `admin`: who may call, who may look, who may change."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from proxy.config.schema_fields import ClientKey, Name, Section, Text
from proxy.config.schema_units import Count, Exact, Share, Whole


def _day(value: Any) -> date:
    if isinstance(value, date):
        return value
    try:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError("expected a day such as 2027-01-31")


def _digest(value: str) -> str:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", value):
        raise ValueError("expected sha256: and 64 lower-case hex digits")
    return value


def _when_spent(value: str) -> str:
    if not re.fullmatch(r"refuse|cache_only|downgrade:.+", value):
        raise ValueError("expected refuse, cache_only or downgrade:MODEL")
    return value


_Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
_Digest = Annotated[Text, AfterValidator(_digest)]
_Spent = Annotated[Text, AfterValidator(_when_spent)]
_Amount = Annotated[Exact, Field(gt=0, le=1_000_000_000_000)]


class LimitsConfig(Section):
    """Rates that may not be exceeded."""

    rpm: Annotated[Count, Field(ge=1)] | None = Field(None, description="Requests a minute.")
    tpm: Annotated[Count, Field(ge=1)] | None = Field(None, description="Tokens a minute.")
    concurrency: Annotated[Count, Field(ge=1)] | None = Field(None, description="Calls at once.")


class QuotaConfig(Section):
    """An amount that may be used up in a period."""

    usd: _Amount | None = Field(None, description="Money, in USD.")
    tokens: Annotated[Count, Field(ge=1)] | None = Field(None, description="Tokens.")
    per: Literal["day", "week", "month"] = Field(description="The period.")
    models: tuple[Name, ...] | None = Field(None, description="Only for these models; absent is all of them.")
    warn_at: tuple[Share, ...] = Field((), description="Shares at which a warning goes out.")
    when_spent: _Spent = Field("refuse", description="refuse, cache_only or downgrade:MODEL.")

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        if (self.usd is None) == (self.tokens is None):
            raise ValueError("give exactly one of usd and tokens")
        return self


class KeyConfig(Section):
    """A key, by itself or by its digest."""

    name: Name = Field(description="What the key is called in logs and reports.")
    key: ClientKey | None = Field(None, description="The key; keep it in the environment: ${VAR}.")
    digest: _Digest | None = Field(None, description="The SHA-256 of the key instead: sha256: and 64 hex digits.")
    expires: _Day | None = Field(None, description="The day from which it is no longer good, in UTC.")

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        if (self.key is None) == (self.digest is None):
            raise ValueError("give exactly one of key and digest")
        return self


class ClientKeyConfig(KeyConfig):
    """A key that clients send."""

    limits: LimitsConfig | None = Field(None, description="Rates for this key alone.")
    quotas: tuple[QuotaConfig, ...] = Field((), description="Amounts that this key may use up in a period.")


class AdminKeyConfig(KeyConfig):
    """A key that operators send."""

    role: Literal["admin", "viewer"] = Field(description="admin may change things, viewer may look.")


class TeamConfig(Section):
    """One team: its keys, and what they may do."""

    cost_center: Text | None = Field(None, description="Whom its cost is booked to.")
    keys: tuple[ClientKeyConfig, ...] = Field((), description="Its client keys.")
    models: tuple[Name, ...] | None = Field(None, description="The models it may use; absent is all of them.")
    limits: LimitsConfig | None = Field(None, description="Rates for all its keys together.")
    quotas: tuple[QuotaConfig, ...] = Field((), description="Amounts it may use up in a period.")
    priority: Whole = Field(
        5, ge=0, le=9, description="Who goes first when there is a queue; a caller may only lower it."
    )


class AdminConfig(Section):
    """Who may use the admin endpoints."""

    keys: tuple[AdminKeyConfig, ...] = Field((), description="The operators' keys.")
