"""Answers that need no provider: those that were given before, and those that another call is about to get."""

from proxy.cache.admission import is_eligible, unfit
from proxy.cache.control import Control, read_control
from proxy.cache.flight import Flight
from proxy.cache.key import key_of, scope_of
from proxy.cache.reel import Shelf
from proxy.cache.store import Stats, Store, Stored

__all__ = [
    "Control",
    "Flight",
    "Shelf",
    "Stats",
    "Store",
    "Stored",
    "is_eligible",
    "key_of",
    "read_control",
    "scope_of",
    "unfit",
]
