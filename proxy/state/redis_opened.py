"""The link that the form of a URL asks for."""

from __future__ import annotations

from proxy.state.redis_cluster import ClusterLink
from proxy.state.redis_link import Link
from proxy.state.redis_place import RedisPlace


def open_link(place: RedisPlace, timeout_s: float) -> Link:
    """A link that is yet to be started. Raises StateUnusable if a file for TLS can't be read."""
    return ClusterLink(place, timeout_s) if place.form == "cluster" else Link(place, timeout_s)
