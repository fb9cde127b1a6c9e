"""What the sections `state` and `accounting` ask for and this version, or this machine, does not have. Part of
`verify`, and under the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import available_timezones

from proxy.config.faults import Finding, suggest
from proxy.config.plain import Data, as_mapping


def check_accounting(root: Data) -> Iterator[Finding]:
    """A time zone that nobody knows."""
    zone = as_mapping(root.get("accounting")).get("timezone")
    if isinstance(zone, str) and zone != "UTC" and zone not in available_timezones():
        yield Finding(("accounting", "timezone"), "there is no such time zone", suggest(zone, available_timezones()))
