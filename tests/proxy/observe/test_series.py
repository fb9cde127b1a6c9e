from hypothesis import given
from hypothesis import strategies as st

from proxy.observe.series import Histogram, Histograms

BOUNDS = (0.1, 1.0, 10.0)


def test_a_sample_on_a_bound_belongs_to_it() -> None:
    histogram = Histogram(BOUNDS)
    for value in (0.1, 0.10001, 1, 11):
        histogram.observe(value)
    assert histogram.buckets() == [("0.1", 1), ("1.0", 3), ("10.0", 3), ("+Inf", 4)]


@given(st.lists(st.floats(0, 100)))
def test_buckets_are_cumulative_and_lose_nothing(values: list[float]) -> None:
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    counts = [count for _, count in histogram.buckets()]
    assert counts == sorted(counts)
    assert counts[-1] == len(values)
    assert counts[:-1] == [sum(value <= bound for value in values) for bound in BOUNDS]
    assert histogram.sum == sum(values)


def test_each_set_of_labels_has_one_histogram() -> None:
    histograms = Histograms(BOUNDS)
    histograms.at(("a",)).observe(1)
    histograms.at(("a",)).observe(1)
    histograms.at(("b",)).observe(1)
    assert {labels: histogram.sum for labels, histogram in histograms.all()} == {("a",): 2, ("b",): 1}
