"""Every way a call can fail, as the client will see it.

    GatewayError
    ├── InvalidRequest            400 invalid_request_error      the caller's fault; no upstream was called
    │   ├── ContextLengthExceeded 400 context_length_exceeded
    │   ├── RequestTimeout        408
    │   ├── BodyTooLarge          413
    │   ├── UriTooLong            414
    │   ├── UnsupportedEncoding   415
    │   └── HeadersTooLarge       431
    ├── InvalidKey                401 invalid_api_key
    ├── ModelNotAllowed           403 model_not_allowed
    ├── AdminOnly                 403 admin_role_required
    ├── NotFound                  404 not_found
    │   └── ModelNotFound         404 model_not_found
    ├── MethodNotAllowed          405 method_not_allowed
    ├── RateLimited               429 rate_limit_exceeded        the caller's team or key has used up its rate
    ├── QuotaSpent                429 insufficient_quota         … or what it may use in a day, a week or a month
    ├── CacheMiss                 504 cache_miss                 the caller wanted a stored answer or none
    ├── InternalError             500 internal_error             our fault
    ├── Overloaded                503 overloaded                 our fault; a retry helps
    │   ├── AtCapacity            503                            nobody may be asked just now; it can be waited for
    │   ├── BooksFull             503                            what it costs cannot be recorded just now
    │   └── QuotaUnknown          503                            … or nobody can say what is left to spend
    ├── ClientGone                499                            nobody is left to read it; for logs and metrics only
    └── UpstreamFailure                                          a provider's fault
        ├── UpstreamError         502 upstream_error             5xx, garbage, half an answer
        ├── UpstreamAuthError     502 upstream_auth_error        our credential was refused
        ├── UpstreamMisconfigured 502 upstream_misconfigured     it does not know the model or the deployment
        ├── UpstreamUnavailable   503 upstream_unavailable       refused, unresolvable, overloaded
        ├── UpstreamQuotaExhausted 503 upstream_quota_exhausted  our account there is spent
        ├── UpstreamTimeout       504 upstream_timeout           silent for too long
        └── UpstreamRejected      as sent                        400, 413, 422, 429: the provider's word to the caller

Each class states status, OpenAI `type` and `code`, and whether a client's retry can help. Messages say what happened,
what was expected and what to do; they never hold a key or a prompt. How an error is written on the wire is
`proxy/api/errors.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

#: Why the next target, or a `fallbacks:` entry, may be asked after this failure. None: nobody else would answer
#: differently.
Cause = Literal["unavailable", "context_length", "content_filter", "rate_limited"]


class GatewayError(Exception):
    """The root: one failed call, with everything the wire needs to say about it."""

    status: int = 500
    type: str = "server_error"
    code: str | None = None
    param: str | None = None
    retry_after_s: float | None = None
    #: False forbids the SDK's own retries (`x-should-retry: false`); None leaves them to the SDK.
    should_retry: bool | None = None
    #: Value of the `kind` label of `llm_errors_total`: a closed set.
    kind: ClassVar[str] = "internal"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if param is not None:
            self.param = param
        if code is not None:
            self.code = code


class InvalidRequest(GatewayError):
    """The request itself is wrong; `param` names the part that is."""

    status = 400
    type = "invalid_request_error"
    should_retry: bool | None = False
    kind = "invalid_request"


class ContextLengthExceeded(InvalidRequest):
    """The request is longer than the context of every target that could serve it; `fallbacks:` may know another."""

    code: str | None = "context_length_exceeded"
    param: str | None = "messages"


class RequestTimeout(InvalidRequest):
    """The caller was too slow to send its headers or its body."""

    status = 408
    code: str | None = "request_timeout"
    should_retry: bool | None = None


class BodyTooLarge(InvalidRequest):
    """The body exceeds `server.max_body`."""

    status = 413
    code: str | None = "request_too_large"


class UriTooLong(InvalidRequest):
    """The request line exceeds what any route of ours could need."""

    status = 414
    code: str | None = "uri_too_long"


class UnsupportedEncoding(InvalidRequest):
    """The body is compressed or is no JSON by its own headers."""

    status = 415
    code: str | None = "unsupported_media_type"


class HeadersTooLarge(InvalidRequest):
    """Too many headers, or too large ones."""

    status = 431
    code: str | None = "headers_too_large"


class InvalidKey(GatewayError):
    """No client key, an unknown or expired one, or two that disagree."""

    status = 401
    type = "invalid_request_error"
    code: str | None = "invalid_api_key"
    should_retry: bool | None = False
    kind = "invalid_key"


class ModelNotAllowed(GatewayError):
    """The key is good, but its team may not use this model."""

    status = 403
    type = "invalid_request_error"
    code: str | None = "model_not_allowed"
    param: str | None = "model"
    should_retry: bool | None = False
    kind = "model_not_allowed"


class AdminOnly(GatewayError):
    """The key opens the admin endpoints for looking only."""

    status = 403
    type = "invalid_request_error"
    code: str | None = "admin_role_required"
    should_retry: bool | None = False
    kind = "admin_only"


class NotFound(GatewayError):
    """No such route."""

    status = 404
    type = "invalid_request_error"
    code: str | None = "not_found"
    should_retry: bool | None = False
    kind = "not_found"


class ModelNotFound(NotFound):
    """No model or alias of that name is configured."""

    code: str | None = "model_not_found"
    param: str | None = "model"
    kind = "model_not_found"


class MethodNotAllowed(GatewayError):
    """The route exists, the method does not."""

    status = 405
    type = "invalid_request_error"
    code: str | None = "method_not_allowed"
    should_retry: bool | None = False
    kind = "not_found"

    def __init__(self, message: str, allowed: Sequence[str]) -> None:
        super().__init__(message)
        self.allowed = tuple(allowed)


class RateLimited(GatewayError):
    """The caller's rate is used up; `type` says what there is too much of, `requests` or `tokens`, as OpenAI's does."""

    status = 429
    code: str | None = "rate_limit_exceeded"
    kind = "rate_limited"


class QuotaSpent(GatewayError):
    """The caller's team or key has used up what it may in a period. Trying again does not help before its end."""

    status = 429
    type = "insufficient_quota"
    code: str | None = "insufficient_quota"
    should_retry: bool | None = False
    kind = "insufficient_quota"


class CacheMiss(GatewayError):
    """The caller said `cache-control: only-if-cached`, and the answer is not there (RFC 9111, section 5.2.1.7)."""

    status = 504
    type = "invalid_request_error"
    code: str | None = "cache_miss"
    should_retry: bool | None = False
    kind = "cache_miss"


class InternalError(GatewayError):
    """A fault of ours. The message never carries the exception's text."""

    code: str | None = "internal_error"


class Overloaded(GatewayError):
    """We are full or going away; another replica, or a moment, may help."""

    status = 503
    type = "server_error"
    code: str | None = "overloaded"
    retry_after_s = 1.0
    kind = "overloaded"


class AtCapacity(Overloaded):
    """Every target that could serve the call is full, or its provider's limit leaves no room: who can wait, waits."""

    def __init__(self, message: str, waits_s: Mapping[str, float | None]) -> None:
        """`waits_s`: for each of them, in how many seconds it may be asked; None: when one of its calls has ended."""
        super().__init__(message)
        self.waits_s = dict(waits_s)
        known = [wait_s for wait_s in waits_s.values() if wait_s is not None]
        if known:
            self.retry_after_s = max(1.0, min(known))

    @property
    def least_wait_s(self) -> float:
        """Seconds that must pass at the least before a target has room; 0 if that is not known."""
        known = [wait_s for wait_s in self.waits_s.values() if wait_s is not None]
        return min(known) if known and len(known) == len(self.waits_s) else 0.0


class BooksFull(Overloaded):
    """The disk takes no more entries, and what is kept in memory has its bounds: calls with a budget have to wait."""


class QuotaUnknown(Overloaded):
    """The state that many replicas share can't be asked, and what each may spend by itself is spent, or nothing."""


class ClientGone(GatewayError):
    """The caller left before its answer was complete."""

    status = 499
    code: str | None = "client_gone"
    kind = "client_gone"


class UpstreamFailure(GatewayError):
    """A provider failed. The gateway has spent its own attempts by the time a client sees this, so SDK retries are
    forbidden.

    `cause` says which other target may be asked; `target` is the name of the one that failed.
    """

    status = 502
    type = "upstream_error"
    code: str | None = "upstream_error"
    should_retry: bool | None = False
    cause: Cause | None = "unavailable"
    target: str | None = None
    is_lasting = False  #: would the same target, asked again at once, say the same?
    is_unsuited = False  #: may the target be fine, and no model for what it was asked?
    has_spare = False  #: was it one credential's fault, and is another of the same provider fit for use?
    may_be_billed = False  #: may the provider have done work that it will charge for?
    credential_id = ""  #: which of the provider's credentials was used; empty if that is not known


class UpstreamError(UpstreamFailure):
    """A 5xx, an answer that is not what was asked for, or half of one."""

    kind = "upstream_error"


class UpstreamAuthError(UpstreamFailure):
    """The provider refused our credential; never the caller's fault."""

    code: str | None = "upstream_auth_error"
    kind = "upstream_auth"


class UpstreamMisconfigured(UpstreamFailure):
    """The provider does not know the model or deployment that the config names."""

    code: str | None = "upstream_misconfigured"
    kind = "upstream_misconfigured"


class UpstreamUnavailable(UpstreamFailure):
    """The provider could not be reached, or says that it is overloaded."""

    status = 503
    code: str | None = "upstream_unavailable"
    kind = "upstream_unavailable"


class UpstreamQuotaExhausted(UpstreamFailure):
    """Our account at the provider is spent."""

    status = 503
    code: str | None = "upstream_quota_exhausted"
    kind = "upstream_quota"


class UpstreamTimeout(UpstreamFailure):
    """The provider did not connect, answer or go on in time."""

    status = 504
    code: str | None = "upstream_timeout"
    kind = "upstream_timeout"
    may_be_billed = True


class UpstreamRejected(UpstreamFailure):
    """The provider's own word to the caller: its status, type, code and param, scrubbed before it comes here."""

    cause = None
    should_retry: bool | None = None
    kind = "upstream_rejected"

    def __init__(
        self, status: int, message: str, *, type: str, code: str | None, param: str | None, cause: Cause | None = None
    ) -> None:
        super().__init__(message, param=param)
        self.status = status
        self.type = type
        self.code = code
        self.cause = cause
