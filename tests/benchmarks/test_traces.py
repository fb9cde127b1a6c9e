import pytest

from benchmarks.traces import TraceName, load
from routing.simulate.trace import span_s


@pytest.mark.parametrize(
    ("name", "count", "minutes", "input_tokens", "output_tokens"),
    [("conv", 19_366, 58, 22_361_870, 4_088_665), ("code", 8_819, 57, 18_059_974, 245_896)],
)
def test_the_traces_are_whole(name: TraceName, count: int, minutes: int, input_tokens: int, output_tokens: int) -> None:
    requests = load(name)
    assert len(requests) == count
    assert round(span_s(requests) / 60) == minutes
    assert sum(request.input_tokens for request in requests) == input_tokens
    assert sum(request.output_tokens for request in requests) == output_tokens
