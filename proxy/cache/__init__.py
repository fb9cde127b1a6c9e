"""Answers that need no provider: those that were given before, and those that another call is about to get."""

from proxy.cache.admission import is_eligible, unfit
from proxy.cache.control import Control, read_control
from proxy.cache.doorkeeper import Doorkeeper
from proxy.cache.flight import Flight
from proxy.cache.key import key_of, scope_of
from proxy.cache.pace import Pace, replayed
from proxy.cache.reel import Shelf
from proxy.cache.shared_level import OpenShared, Shared, SharedStats, open_shared, without_shared
from proxy.cache.store import Stats, Store, Stored

__all__ = [
    "Control",
    "Doorkeeper",
    "Flight",
    "OpenShared",
    "Pace",
    "Shared",
    "SharedStats",
    "Shelf",
    "Stats",
    "Store",
    "Stored",
    "is_eligible",
    "key_of",
    "open_shared",
    "read_control",
    "replayed",
    "scope_of",
    "unfit",
    "without_shared",
]
