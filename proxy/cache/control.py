"""What a client asks of the cache, in the request header `cache-control` (RFC 9111, section 5.2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

_HEADER: Final = b"cache-control"
_MAX_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class Control:
    """What may be done for one call."""

    may_find: bool = True  #: may a stored answer be given, or one that is under way be shared?
    may_store: bool = True  #: may its answer be kept?
    only_if_cached: bool = False  #: is nobody to be asked?
    max_age_s: float = inf  #: a stored answer may be this old


_USUAL: Final = Control()


def read_control(headers: Mapping[bytes, bytes]) -> Control:
    """What the headers ask for. Directives that are not known have no effect; a `max-age` that is no number is 0."""
    value = headers.get(_HEADER)
    if value is None:
        return _USUAL
    given: dict[bytes, bytes] = {}
    for directive in value.lower().split(b","):
        name, _, argument = directive.strip().partition(b"=")
        given.setdefault(name, argument.strip(b'"'))
    max_age_s = _seconds(given[b"max-age"]) if b"max-age" in given else inf
    has_no_store = b"no-store" in given
    return Control(
        may_find=not has_no_store and b"no-cache" not in given and max_age_s > 0,
        may_store=not has_no_store,
        only_if_cached=b"only-if-cached" in given,
        max_age_s=max_age_s,
    )


def _seconds(argument: bytes) -> float:
    return int(argument[:_MAX_DIGITS]) if argument.isdigit() else 0
