import dataclasses

import pytest

from routing.types import Candidate, Facts, Plan, Target


def test_what_routing_and_the_proxy_share_cannot_be_changed_by_either() -> None:
    target = Target("p/m", "p", "m")
    for value, name in (
        (target, "name"),
        (Facts("m", stream=True), "model"),
        (Candidate(target, "why"), "reason"),
        (Plan("s", (Candidate(target, "why"),)), "strategy"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, "other")
