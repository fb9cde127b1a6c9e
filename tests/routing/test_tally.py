from routing.tally import Ratios, Share, Tally


def test_what_is_taken_is_counted_anew_and_who_the_others_are_stays() -> None:
    tally = Tally(others=2)
    tally.attempts, tally.failures, tally.requests, tally.tokens = 5, 2, 6, 700
    tally.open_until, tally.rest_until = 12.0, 9.0
    tally.begins.add(0.5, 0.25)
    tally.begins.add(-0.5, 0.25)
    share = tally.take(3, 10.0)
    assert share[:6] == (5, 2, 2.0, 6, 700, 0.0)
    assert (share.begins, share.begins_sum, share.begins_squares, share.in_flight) == (2, 0.0, 0.5, 3)
    assert tally == Tally(others=2)
    assert tally.take(0, 10.0) == Share()


def test_ratios_are_counted_where_they_were_begun() -> None:
    """Timing holds on to them: taking must not put others in their place."""
    tally = Tally()
    begins = tally.begins
    tally.take(0, 0.0)
    begins.add(1.0, 1.0)
    assert tally.begins is begins
    assert tally.begins == Ratios(1.0, 1.0, 1.0)
