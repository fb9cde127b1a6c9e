from math import inf

import pytest

from routing.allowance import Allowance
from routing.window import MovingSum


def test_what_others_may_send_is_taken_as_far_as_the_debt_may_grow() -> None:
    allowance = Allowance(60, 1.0, None)
    allowance.take(40, 0.0)
    assert allowance.assume(50, 0.0) == 50
    assert allowance.wait_s(1, 0.0) == pytest.approx(31.0, abs=1e-3)
    assert allowance.assume(50, 0.0) == 30
    assert allowance.assume(50, 0.0) == 0


def test_what_is_given_back_is_there_again() -> None:
    allowance = Allowance(60, 1.0, MovingSum(60.0, 12))
    allowance.take(30, 0.0)
    assert allowance.assume(30, 0.0) == 30
    allowance.correct(-30, 0.0)
    assert allowance.headroom(0.0) == 0.5


def test_without_a_limit_there_is_nothing_to_take_and_nothing_to_wait_for() -> None:
    allowance = Allowance(None, 1.0, None)
    assert allowance.assume(5, 0.0) == 0.0
    assert (allowance.wait_s(10**9, 0.0), allowance.headroom(0.0)) == (0.0, 1.0)


def test_more_than_the_limit_never_fits() -> None:
    assert Allowance(60, 1.0, None).wait_s(61, 0.0) == inf
