"""Answers that need no provider: those that were given before, and those that another call is about to get."""

from proxy.cache.admission import MAX_REQUEST_BYTES, is_eligible, unfit
from proxy.cache.control import Control, read_control
from proxy.cache.doorkeeper import Doorkeeper
from proxy.cache.file_level import FileLevel, open_file_level
from proxy.cache.flight import Flight
from proxy.cache.key import key_of, scope_of
from proxy.cache.lead import Lead, Look
from proxy.cache.pace import Pace, replayed
from proxy.cache.reel import Shelf
from proxy.cache.shared_level import Listener, OpenShared, Purged, Shared, SharedStats, without_shared
from proxy.cache.store import Stats, Store, Stored
from proxy.cache.vectors import KeptVector, input_key, input_scope, pack_vector, unpack_vector

__all__ = [
    "MAX_REQUEST_BYTES",
    "Control",
    "Doorkeeper",
    "FileLevel",
    "Flight",
    "KeptVector",
    "Lead",
    "Listener",
    "Look",
    "OpenShared",
    "Pace",
    "Purged",
    "Shared",
    "SharedStats",
    "Shelf",
    "Stats",
    "Store",
    "Stored",
    "input_key",
    "input_scope",
    "is_eligible",
    "key_of",
    "open_file_level",
    "pack_vector",
    "read_control",
    "replayed",
    "scope_of",
    "unfit",
    "unpack_vector",
    "without_shared",
]
