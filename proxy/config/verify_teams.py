"""What contradicts itself within one team: limits of a key that its team's make void. Part of `verify`, and under the
same rules.
"""

from __future__ import annotations

from collections.abc import Iterator

from proxy.config.faults import Finding, Path
from proxy.config.plain import Data, as_mapping, entries, sections
from proxy.config.schema_units import count_of


def check_key_limits(teams: Data) -> Iterator[Finding]:
    """A key's limit above its team's: the team's is always reached first."""
    for team, settings in sections(teams):
        team_limits = as_mapping(settings.get("limits"))
        for index, key in entries(settings, "keys"):
            for name, value in as_mapping(key.get("limits")).items():
                own, whole = count_of(value), count_of(team_limits.get(name))
                if own is not None and whole is not None and own > whole:
                    path: Path = ("teams", team, "keys", index, "limits", name)
                    message = f"never reached: the whole team may have {whole:,}"
                    yield Finding(path, message, "lower it, or drop it", is_warning=True)
