"""The section `providers`: whom the gateway may ask."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from proxy.config.schema_fields import Credential, Hidden, Printable, Section
from proxy.config.schema_units import Flag, Seconds, Share, between

_BASE_URLS: Final[Mapping[str, str]] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "demo": "http://demo.invalid/v1",
}
#: A stricter reading than urlsplit's, which every other reader of the URL shares.
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_HEADER_NAME: Final = re.compile(r"[a-z0-9-]{1,64}")
#: Set by the gateway, or dangerous to set.
_RESERVED_HEADERS: Final = frozenset(
    (
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "accept-encoding",
        "upgrade",
        "authorization",
        "api-key",
        "x-api-key",
        "cookie",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "expect",
        "proxy-authorization",
    )
)


def _url(value: Any) -> str:
    if not isinstance(value, str) or not _is_plain_url(value):
        raise ValueError(
            "expected an http or https URL without user, query and fragment, such as https://api.openai.com/v1"
        )
    return value


def _is_plain_url(value: str) -> bool:
    if not value.isascii() or not value.isprintable() or set(value) & set(' ?#@\\"<>'):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(_HOST.fullmatch(parts.netloc)) and parts.port != 0
    except ValueError:  # a port beyond 65535, half an IPv6 address
        return False


def _header_name(value: str) -> str:
    if not _HEADER_NAME.fullmatch(value):
        raise ValueError("a header's name has lower-case letters, digits and hyphens, at most 64")
    if value in _RESERVED_HEADERS:
        raise ValueError("the gateway sets this header itself")
    return value


def _header_value(value: str) -> str:
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise ValueError("expected printable ASCII characters, no space around them")
    return value


Url = Annotated[str, BeforeValidator(_url)]
_Headers = dict[Annotated[str, AfterValidator(_header_name)], Annotated[Hidden, AfterValidator(_header_value)]]


class FaultsConfig(Section):
    """How a simulated provider departs from its profile."""

    error_rate: Share | None = Field(None, description="Share of calls answered with an error.")
    cut_rate: Share | None = Field(None, description="Share of answers that break off in the middle.")
    hang_rate: Share | None = Field(None, description="Share of calls that are never answered.")
    first_token_s: Annotated[Seconds, between("0s", "1h")] | None = Field(
        None, alias="first_token", description="Median time to the first token."
    )
    per_token_s: Annotated[Seconds, between("0s", "1m")] | None = Field(
        None, alias="per_token", description="Median time between tokens."
    )


class ProviderConfig(Section):
    """One provider."""

    kind: Literal["openai", "azure", "anthropic", "demo"] = Field(description="What it speaks; demo is simulated.")
    base_url: Url = Field("", description="Where its API begins; has a default for every kind but azure.")
    api_key: Credential | None = Field(None, description="Its API key; null for a local server that needs none.")
    api_keys: Annotated[tuple[Credential, ...], Field(min_length=1)] | None = Field(
        None, description="Several API keys, which rotate."
    )
    dialect: Literal["auto", "openai", "deepseek", "qwen", "vllm", "ollama", "azure", "anthropic"] = Field(
        "auto", description="Whose quirks to expect; auto goes by kind and host."
    )
    api_version: Printable | None = Field(None, description="Azure's api-version.")
    headers: _Headers = Field({}, repr=False, description="Headers to add to every request.")
    transport: Literal["aiohttp", "httpx"] = Field(
        "aiohttp", description="The HTTP client; httpx is the slower fallback."
    )
    proxy: Url | None = Field(None, description="An HTTP proxy to go through; those of the environment are never used.")
    reuse: Flag = Field(
        True, description="Keep connections open between calls; false for an upstream you do not trust."
    )
    profile: Literal["fast", "cheap", "flaky"] = Field(
        "fast", description="How a simulated provider behaves (kind: demo)."
    )
    faults: FaultsConfig = Field(
        FaultsConfig(), description="How a simulated provider departs from its profile (kind: demo)."
    )

    @property
    def credentials(self) -> tuple[str, ...]:
        """The keys to send, in turn; none for a server that needs none."""
        keys = self.api_keys or ((self.api_key,) if self.api_key is not None else ())
        return tuple(key.get_secret_value() for key in keys)

    @model_validator(mode="before")
    @classmethod
    def _default_base_url(cls, value: Any) -> Any:
        kind = value.get("kind") if isinstance(value, dict) and "base_url" not in value else None
        return {**value, "base_url": _BASE_URLS[kind]} if isinstance(kind, str) and kind in _BASE_URLS else value

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if self.api_key is not None and self.api_keys is not None:
            raise ValueError("give api_key or api_keys, not both")
        if self.kind == "azure" and not (self.base_url and self.api_version):
            raise ValueError("kind azure needs base_url and api_version")
        if self.kind in ("azure", "anthropic") and not self.credentials:
            raise ValueError(f"kind {self.kind} needs an api_key")
        if self.kind == "openai" and not self.credentials and self.base_url == _BASE_URLS["openai"]:
            raise ValueError("OpenAI itself needs an api_key; set base_url for another server that speaks its API")
        if self.kind != "demo" and {"profile", "faults"} & self.model_fields_set:
            raise ValueError("profile and faults are for kind demo only")
        return self
