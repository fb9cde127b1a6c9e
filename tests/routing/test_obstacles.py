from collections.abc import Sequence

import pytest

from routing import Exclusion, Facts
from routing.obstacles import BROKEN, DRAINED, FULL, LIMITED, PACED, asked_in_need, is_askable
from tests.routing.fleets import a_target

NEW = Facts("chat", stream=True)
AGAIN = Facts("chat", stream=True, tried=("p/0",))
LATER = Facts("chat", stream=True, may_wait=False)


def in_need(reasons: Sequence[str], facts: Facts) -> list[str]:
    return asked_in_need([Exclusion(a_target(str(place)), reason) for place, reason in enumerate(reasons)], facts)


@pytest.mark.parametrize(
    ("reasons", "facts", "asked"),
    [
        ((BROKEN, PACED), NEW, ["p/0", "p/1"]),
        ((DRAINED, LIMITED, BROKEN), NEW, ["p/2"]),
        ((DRAINED, LIMITED), NEW, []),
        ((FULL, BROKEN, PACED), NEW, []),
        ((FULL, BROKEN, PACED), AGAIN, ["p/1", "p/2"]),
        ((FULL, BROKEN), LATER, ["p/1"]),
        ((FULL,), LATER, []),
    ],
)
def test_a_guess_is_overruled_unless_there_is_room_to_wait_for(
    reasons: Sequence[str], facts: Facts, asked: list[str]
) -> None:
    assert in_need(reasons, facts) == asked


@pytest.mark.parametrize(
    ("reasons", "yes"),
    [
        ([None, FULL], True),
        ([BROKEN, LIMITED], True),
        ([PACED], True),
        ([BROKEN, FULL], False),
        ([LIMITED, DRAINED, FULL], False),
        ([], False),
    ],
)
def test_a_new_call_would_be_sent_where_a_plan_would_send_it(reasons: list[str | None], yes: bool) -> None:
    assert is_askable(reasons) is yes
    obstacles = [reason for reason in reasons if reason is not None]
    if None not in reasons:
        assert bool(in_need(obstacles, NEW)) is yes
