"""What keys in Redis are called. All of a team's carry one hash tag, so that one script may touch them on a cluster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RedisKeys:
    """The names of one fleet of gateways."""

    namespace: str

    def team(self, team: str) -> str:
        """What every key of a team begins with; scripts get it as their KEYS[1] and append `:NAME`."""
        return f"{{{self.namespace}/{team}}}"

    @property
    def fleet(self) -> str:
        """The same for what belongs to no team: `{waystation}:NAME`."""
        return f"{{{self.namespace}}}"
