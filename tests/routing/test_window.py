from math import inf

from hypothesis import given
from hypothesis import strategies as st

from routing.window import MovingSum

TIMES = st.lists(st.tuples(st.integers(0, 200), st.integers(-5, 20)), max_size=60)


@given(TIMES, st.integers(1, 12))
def test_an_amount_lives_for_the_span_and_at_most_one_slot_longer(steps: list[tuple[int, int]], slots: int) -> None:
    window = MovingSum(12.0, slots)
    added: list[tuple[int, int]] = []
    for now, amount in sorted(steps):
        window.add(amount, float(now))
        added.append((now, amount))
        total = window.total(float(now))
        # Exactly those of the newest slots, the one being filled included.
        width = 12 / slots
        kept = sum(amount for at, amount in added if now // width - at // width <= slots)
        assert total == kept
        assert {amount for at, amount in added if now - at < 12} <= {
            amount for at, amount in added if now // width - at // width <= slots
        }


@given(TIMES, st.integers(1, 50))
def test_after_the_wait_so_much_is_forgotten(steps: list[tuple[int, int]], excess: int) -> None:
    window = MovingSum(12.0, 4)
    for at, amount in sorted(steps):
        window.add(abs(amount), float(at))
    now = max((at for at, _ in steps), default=0)
    before = window.total(now)
    wait_s = window.wait_s(excess, now)
    if wait_s == inf:
        assert excess > before
    else:
        assert wait_s == 0 or window.total(now + wait_s - 0.001) > before - excess
        assert window.total(now + wait_s) <= before - excess


def test_time_that_goes_backward_stands_still() -> None:
    window = MovingSum(10.0, 10)
    window.add(1, 100.0)
    window.add(1, 50.0)
    assert window.total(100.0) == 2
    assert window.total(111.0) == 0


def test_a_cleared_sum_counts_anew() -> None:
    window = MovingSum(10.0, 10)
    window.add(3, 1.0)
    window.clear()
    window.add(1, 1.5)
    assert window.total(2.0) == 1


def test_rounding_does_not_add_up() -> None:
    window = MovingSum(1.0, 10)
    for step in range(100_000):
        window.add(0.1, step * 0.01)
    assert window.total(999.99 + 2.0) == 0.0
