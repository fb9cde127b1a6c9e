from hypothesis import given
from hypothesis import strategies as st

from proxy.accounting.figures import Answers, Attempts, Figures, Totals
from proxy.state import Sums

DETAILS = st.tuples(
    st.sampled_from(["upstream", "cache:exact", "static"]),
    st.sampled_from(["", "overloaded", "upstream_error"]),
    st.sampled_from(["", "first", "retry"]),
    st.sampled_from(["reported", "unmetered"]),
)
ROWS = st.lists(st.tuples(DETAILS, st.builds(Sums, *(st.integers(-5, 50) for _ in range(13)))), max_size=12)


def tallied(*rows: tuple[tuple[str, ...], Sums]) -> Figures:
    tally = Totals()
    for details, sums in rows:
        tally.add(details, sums)
    return tally.figures() or Figures.none()


def test_parts_are_told_apart() -> None:
    figures = tallied(
        (("upstream", "", "first", "unmetered"), Sums(0, 0, 1, 100, 0, 300)),
        (("upstream", "", "retry", "reported"), Sums(1, 0, 1, 400, 400, 400, uncached_tokens=7)),
        (("cache:exact", "", "", ""), Sums(2, 50)),
        (("upstream", "rate_limit_exceeded:team_rpm", "", ""), Sums(3)),
        (("upstream", "upstream_timeout", "first", "unmetered"), Sums(1, 0, 1)),
        (("static", "upstream_error", "first", "reported"), Sums(1, 0, 1)),
    )
    assert (figures.sums.calls, figures.sums.cost_nusd, figures.sums.input_tokens) == (8, 500, 7)
    assert figures.metering == {"unmetered": Attempts(2, 100, 0, 300), "reported": Attempts(2, 400, 400, 400)}
    assert figures.roles == {"first": Attempts(3, 100, 0, 300), "retry": Attempts(1, 400, 400, 400)}
    assert figures.sources == {"upstream": Answers(1), "cache:exact": Answers(2, 50), "static": Answers(1)}
    assert figures.refused == {"rate_limit_exceeded:team_rpm": 3}
    assert figures.failed == {"upstream_timeout": 1, "upstream_error": 1}


@given(ROWS)
def test_the_parts_come_to_the_whole(rows: list[tuple[tuple[str, ...], Sums]]) -> None:
    figures = tallied(*((details, sums) for details, sums in rows if details[2]))
    for parts in (figures.metering, figures.roles):
        assert sum(part.cost_nusd for part in parts.values()) == figures.sums.cost_nusd
        assert sum(part.attempts for part in parts.values()) == figures.sums.attempts


@given(ROWS)
def test_what_is_taken_away_again_leaves_nothing(rows: list[tuple[tuple[str, ...], Sums]]) -> None:
    tally = Totals()
    for details, sums in rows:
        tally.add(details, sums)
    for details, sums in reversed(rows):
        tally.add(details, sums, is_taken=True)
    assert tally.figures() is None


def test_no_calls_are_no_figures() -> None:
    assert Totals().figures() is None
    assert Figures.none().sums == Sums()
