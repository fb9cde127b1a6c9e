"""From what a provider said to the failure a client is shown: whose fault, which class, what may be repeated.

A provider's words reach the caller only where they are meant for the caller (its 400, 413, 422 and 429), and then
scrubbed of our credentials and of addresses inside our network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from proxy.errors import (
    Cause,
    UpstreamAuthError,
    UpstreamError,
    UpstreamFailure,
    UpstreamMisconfigured,
    UpstreamQuotaExhausted,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from proxy.wire.failure import ErrorBody
from routing import cap_retry_after, parse_retry_after

_URL: Final = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>)\]}]+", re.IGNORECASE)
_SECRET: Final = re.compile(
    r"\b(?:sk|pk|rk|key|gsk|xai|sess)-[A-Za-z0-9_*.-]{6,}"  # provider keys, also half masked ones (sk-abc***xyz)
    r"|\bBearer\s+\S+",
    re.IGNORECASE,
)
#: Addresses of our network without a scheme in front.
_INTERNAL_HOST: Final = re.compile(
    r"\b(?:(?:10|127)(?:\.\d{1,3}){3}|(?:192\.168|169\.254|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2}"
    r"|[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:local|internal|lan|corp|svc|localhost|intranet))\b(?::\d+)?",
    re.IGNORECASE,
)
_PRIVATE_SUFFIXES: Final = (
    ".local",
    ".internal",
    ".lan",
    ".corp",
    ".svc",
    ".cluster.local",
    ".localhost",
    ".intranet",
    ".home.arpa",
)
_MAX_MESSAGE_CHARS: Final = 2_000
#: No provider's Retry-After may park a caller for longer.
_MAX_RETRY_AFTER_S: Final = 3600.0

_CONTEXT_LENGTH: Final = re.compile(
    r"context.{0,20}(length|window)|maximum context|too many tokens|prompt is too long", re.IGNORECASE
)
_CONTENT_FILTER: Final = re.compile(
    r"content.?(filter|policy|management)|data_inspection_failed|moderation", re.IGNORECASE
)
_MODEL_CODES: Final = frozenset(
    {"model_not_found", "DeploymentNotFound", "deployment_not_found", "InvalidModel", "ModelNotFound"}
)
#: The name of the model next to the complaint: "this model requires ... not found" is about something else.
_MODEL_WORDS: Final = re.compile(
    r"\bmodel:? ?([`'\"]?[\w./:@-]+[`'\"]? )?(does not exist|(is |was )?not (found|exist))"
    r"|\b(unknown|no such|invalid) model\b",
    re.IGNORECASE,
)
_QUOTA_CODES: Final = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "Arrearage", "insufficient_balance"}
)
#: An error inside a 200 has no status of its own; its code or type tells which it would have had.
_STATUS_OF_WORD: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "tokens": 429,
    "requests": 429,
    "insufficient_quota": 429,
    "overloaded_error": 529,
    "overloaded": 529,
    "timeout": 504,
    "context_length_exceeded": 400,
    "content_filter": 400,
}


class Scrubber:
    """Takes out of a provider's words what the caller must not see."""

    def __init__(self, secrets: Sequence[str], base_url: str) -> None:
        """`secrets`: our credentials at this provider; `base_url`: where it lives."""
        self._secrets = sorted((secret for secret in secrets if secret), key=len, reverse=True)
        self._host = (urlsplit(base_url).hostname or "").lower()

    def __call__(self, text: str) -> str:
        """The text without credentials, internal addresses and control characters, at most 2,000 characters long."""
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        text = _SECRET.sub("[key]", text)
        text = _URL.sub(lambda found: "[url]" if self._is_internal(found.group()) else found.group(), text)
        text = _INTERNAL_HOST.sub("[host]", text)
        if self._host and not _is_public(self._host):
            text = re.sub(re.escape(self._host), "[host]", text, flags=re.IGNORECASE)
        return "".join(char if char.isprintable() or char == "\n" else " " for char in text[:_MAX_MESSAGE_CHARS])

    def _is_internal(self, url: str) -> bool:
        try:
            host = (urlsplit(url).hostname or "").lower()
        except ValueError:
            return True
        return host == self._host or not _is_public(host)


def _is_public(host: str) -> bool:
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(_PRIVATE_SUFFIXES)


def classify(
    provider: str, status: int, error: ErrorBody, headers: Mapping[str, str], scrub: Scrubber, wall_now: float
) -> UpstreamFailure:
    """The failure that an answer of this status and body stands for; `headers` are consulted for Retry-After, which may
    be a date: `wall_now` is Unix time in seconds. Pure.
    """
    code, words = error.code or "", f"{error.code} {error.type} {error.message}"
    failure: UpstreamFailure
    if code in _QUOTA_CODES or error.type in _QUOTA_CODES or status == 402:
        return UpstreamQuotaExhausted(
            f"The account at provider '{provider}' is exhausted. Whoever runs this gateway must top it up."
        )
    if status in (401, 403) and not _CONTENT_FILTER.search(words):
        return UpstreamAuthError(
            f"Provider '{provider}' refused this gateway's credential (HTTP {status}). Your own key is fine; "
            "whoever runs this gateway must mend the provider's."
        )
    if code in _MODEL_CODES or status == 404 or _blames_model(status, error):
        return UpstreamMisconfigured(
            f"Provider '{provider}' does not know the model or address named in this gateway's config (HTTP {status})."
        )
    if status in (400, 403, 413, 422, 429):
        failure = _rejected(status, error, words, scrub)
    elif status in (408, 504):
        failure = UpstreamTimeout(f"Provider '{provider}' timed out (HTTP {status}).")
    elif status in (503, 529):
        failure = UpstreamUnavailable(f"Provider '{provider}' is overloaded or down (HTTP {status}).")
    elif 300 <= status < 400:
        failure = UpstreamMisconfigured(
            f"Provider '{provider}' answered with a redirect (HTTP {status}), which is never followed. "
            "Check its base_url."
        )
    else:
        failure = UpstreamError(f"Provider '{provider}' failed (HTTP {status}).")
    if status in (408, 409, 429) or status >= 500:
        failure.retry_after_s = read_retry_after(headers, wall_now)
    return failure


def _blames_model(status: int, error: ErrorBody) -> bool:
    return status == 400 and error.param in (None, "model") and _MODEL_WORDS.search(error.message) is not None


def no_embeddings(provider: str, status: int) -> UpstreamMisconfigured:
    """The failure for a 403 or 404 to who asked for embeddings: OpenAI's words for a chat model. A client that asks the
    wrong model must not put target and credential out of use for others.
    """
    failure = UpstreamMisconfigured(
        f"Provider '{provider}' has no embeddings for this model, or none for this gateway (HTTP {status}). "
        "Ask for an embedding model; if this is one, whoever runs this gateway must mend its config."
    )
    failure.is_unsuited = True
    return failure


def classify_inside(provider: str, error: ErrorBody, scrub: Scrubber) -> UpstreamFailure:
    """The failure for an error that came inside a 200, whole or streamed."""
    status = error.status or _STATUS_OF_WORD.get(error.code or "") or _STATUS_OF_WORD.get(error.type or "") or 500
    failure = classify(provider, status, error, {}, scrub, wall_now=0.0)
    if isinstance(failure, UpstreamError):
        failure.message = f"Provider '{provider}' reported an error in its answer: {scrub(error.message)}"
    return failure


def _rejected(status: int, error: ErrorBody, words: str, scrub: Scrubber) -> UpstreamRejected:
    cause: Cause | None = None
    if status == 429:
        cause = "rate_limited"
    elif status == 413 or _CONTEXT_LENGTH.search(words):
        cause = "context_length"
    elif _CONTENT_FILTER.search(words):
        cause = "content_filter"
    fallback_type = "rate_limit_error" if status == 429 else "invalid_request_error"
    return UpstreamRejected(
        status,
        scrub(error.message),
        type=scrub(error.type or fallback_type),
        code=scrub(error.code) if error.code else ("rate_limit_exceeded" if status == 429 else None),
        param=scrub(error.param) if error.param else None,
        cause=cause,
    )


def read_retry_after(headers: Mapping[str, str], wall_now: float) -> float | None:
    """Seconds to wait, as a provider asks in any of the header's forms, capped at an hour; None if it does not ask."""
    asked_s = parse_retry_after(headers, wall_now)
    return None if asked_s is None else cap_retry_after(asked_s, _MAX_RETRY_AFTER_S)[0]
