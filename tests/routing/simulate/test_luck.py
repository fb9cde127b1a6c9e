from statistics import fmean, pstdev

import pytest

from routing.simulate.luck import draw


def test_the_same_attempt_has_the_same_luck() -> None:
    assert draw(1, 2, 3, 0) == draw(1, 2, 3, 0)


@pytest.mark.parametrize("other", [(2, 2, 3, 0), (1, 3, 3, 0), (1, 2, 4, 0), (1, 2, 3, 1)])
def test_any_other_attempt_has_luck_of_its_own(other: tuple[int, int, int, int]) -> None:
    luck, another = draw(1, 2, 3, 0), draw(*other)
    assert luck.ttft != another.ttft
    assert luck.fails != another.fails


def test_draws_are_spread_as_they_say() -> None:
    draws = [draw(0, request, 0, 0) for request in range(4000)]
    for normal in ([one.ttft for one in draws], [one.speed for one in draws]):
        assert fmean(normal) == pytest.approx(0, abs=0.06)
        assert pstdev(normal) == pytest.approx(1, abs=0.05)
    evens = ("fails", "cuts", "delay", "headers")
    for even in ([getattr(one, name) for one in draws] for name in evens):
        assert 0 <= min(even) < 0.01
        assert 0.99 < max(even) < 1
        assert fmean(even) == pytest.approx(0.5, abs=0.02)


def test_purposes_do_not_share_their_luck() -> None:
    draws = [draw(0, request, 0, 0) for request in range(4000)]
    together = fmean((one.fails - 0.5) * (one.delay - 0.5) for one in draws)
    assert together == pytest.approx(0, abs=0.005)
