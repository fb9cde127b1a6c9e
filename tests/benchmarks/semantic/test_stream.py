from benchmarks.semantic.stream import replay


def test_a_stream_of_good_pairs_is_served_and_one_of_bad_ones_is_not() -> None:
    good = replay([(0.95, True)] * 40 + [(0.3, False)] * 10, 0.1, 0.9, 2000, seed=1)
    assert good.wrong_share == 0
    assert good.recall > 0.9
    assert good.first is not None
    bad = replay([(0.95, True), (0.95, False)], 0.1, 0.9, 2000, seed=1)
    assert (bad.wrong_share, bad.recall, bad.first) == (0, 0, None)
