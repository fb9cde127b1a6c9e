import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.simulate.trace import Request, faster, read, span_s, stated_cap


def test_each_line_is_a_request() -> None:
    one, other = read(["# ms,input,output", "0,374,44", "", "4315,396,109\n"])
    assert (one.index, one.at, one.input_tokens, one.output_tokens) == (0, 0.0, 374, 44)
    assert (other.index, other.at, other.input_tokens, other.output_tokens) == (1, 4.315, 396, 109)
    assert one.stream
    assert one.sticky is None


@pytest.mark.parametrize("bad", ["1,2", "1,2,3,4", "a,2,3", "1.5,2,3", "-1,2,3", "1,-2,3", "1,2,-3"])
def test_a_bad_line_is_named(bad: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        read(["0,1,1", bad])


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="line 2"):
        read(["10,1,1", "9,1,1"])


@given(st.integers(0, 10**6), st.integers(0, 10**5))
def test_a_stated_cap_is_a_power_of_two_above_one_and_a_half_times_the_answer(index: int, output_tokens: int) -> None:
    cap = stated_cap(index, output_tokens)
    assert cap is None or (cap.bit_count() == 1 and cap > output_tokens * 3 // 2)
    assert cap is None or cap <= max(1, 3 * output_tokens)


def test_half_of_the_requests_state_a_cap() -> None:
    stated = sum(stated_cap(index, 100) is not None for index in range(10_000))
    assert 4900 <= stated <= 5100


def test_faster_squeezes_the_trace() -> None:
    requests = read(["0,1,1", "8000,1,1"])
    assert span_s(faster(requests, 1.6)) == 5.0
    assert [request.index for request in faster(requests, 1.6)] == [0, 1]


def test_an_empty_trace_has_no_span() -> None:
    assert span_s([]) == 0
    assert span_s([Request(0, 7.0, 1, 1)]) == 7.0
