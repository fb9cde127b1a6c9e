"""One Router per world: from the facts of a call to a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from routing.strategies.round_robin import RoundRobin
from routing.types import Facts, Plan, Target


class Router:
    """Plans calls over the targets of every configured model."""

    def __init__(self, models: Mapping[str, Sequence[Target]]) -> None:
        """`models`: configured model name -> its targets in the order of the config; none may be empty."""
        self._strategies = {model: RoundRobin(targets) for model, targets in models.items()}

    def plan(self, facts: Facts) -> Plan:
        """Order the model's targets for one call; O(1) in the number of models. Raises KeyError for a model not
        configured.
        """
        return self._strategies[facts.model].plan()
