from datetime import date, timedelta

import pytest

from proxy.accounting.report_query import (
    BadQuery,
    Query,
    compared_spans,
    parse_granularity,
    parse_groups,
    parse_span,
)
from proxy.state import Span

TODAY = date(2026, 11, 21)
NOVEMBER = Span(date(2026, 11, 1), date(2026, 12, 1))


def test_groups_are_names_with_commas_and_declared_tags() -> None:
    assert parse_groups("model, provider", (), None) == ("model", "provider")
    assert parse_groups("cost_center,tag:env", ("env",), None) == ("cost_center", "tag:env")


def test_a_key_brings_its_team_along_unless_there_is_only_one() -> None:
    assert parse_groups("model,key", (), None) == ("model", "team", "key")
    assert parse_groups("key,team", (), None) == ("key", "team")
    assert parse_groups("key", (), "search") == ("key",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("teem", "'teem'; expected some of team, key, cost_center, model, provider, tag:env"),
        ("", "''"),
        ("team,", "''"),
        ("team,team", "twice"),
        ("tag", "tag:KEY"),
        ("tag:colour", "accounting.tag_keys"),
        ("tag:env,tag:feature", "one tag at a time"),
        ("metering", "no grouping"),
        ("team; DROP TABLE calls", "no grouping"),
        ("\x1b[31m" + "x" * 500, "'?[31mxxx"),
    ],
)
def test_a_wrong_group_is_refused_with_what_there_is(text: str, said: str) -> None:
    with pytest.raises(BadQuery) as caught:
        parse_groups(text, ("env",) if "feature" not in text else ("env", "feature"), None)
    assert caught.value.parameter == "group_by"
    assert said in caught.value.message
    assert len(caught.value.message) < 300


def test_the_books_are_asked_by_their_own_names() -> None:
    query = Query(NOVEMBER, ("key", "tag:env"), team="search")
    assert (query.dimensions, query.tag_key, query.where) == (("key_name", "tag"), "env", {"team": "search"})
    assert (Query(NOVEMBER).tag_key, Query(NOVEMBER).where) == ("", {})


def test_a_granularity_is_one_of_three_or_none() -> None:
    assert [parse_granularity(text) for text in ("hour", "day", "month", None)] == ["hour", "day", "month", "total"]
    for text in ("week", "total", ""):
        with pytest.raises(BadQuery, match="hour, day or month"):
            parse_granularity(text)


def test_a_span_is_a_month_or_days_or_this_month() -> None:
    assert parse_span("2026-10", None, None, TODAY) == Span(date(2026, 10, 1), date(2026, 11, 1))
    assert parse_span(None, None, None, TODAY) == NOVEMBER
    assert parse_span(None, "2026-10-03", "2026-10-04", TODAY) == Span(date(2026, 10, 3), date(2026, 10, 4))
    assert parse_span(None, "2026-10-03", None, TODAY) == Span(date(2026, 10, 3), date(2026, 11, 22))


@pytest.mark.parametrize(
    ("period", "first", "end", "parameter", "said"),
    [
        ("2026-13", None, None, "period", "a month such as 2026-10"),
        ("2026-1", None, None, "period", "a month such as 2026-10"),
        ("2026-10-01", None, None, "period", "from and to"),
        ("9999-12", None, None, "period", "a month"),
        ("2026-10", "2026-10-01", None, "period", "not both"),
        (None, None, "2026-10-01", "to", "no from"),
        (None, "01.10.2026", None, "from", "a day such as 2026-10-01"),
        (None, "2026-02-30", None, "from", "a day such as"),
        (None, "2026-10-02", "2026-10-02", "to", "before it begins"),
        (None, "2027-01-01", None, "to", "before it begins"),
    ],
)
def test_a_wrong_span_is_refused_with_the_right_form(
    period: str | None, first: str | None, end: str | None, parameter: str, said: str
) -> None:
    with pytest.raises(BadQuery) as caught:
        parse_span(period, first, end, TODAY)
    assert caught.value.parameter == parameter
    assert said in caught.value.message


def test_a_whole_month_is_compared_with_the_month_before() -> None:
    october, september = (Span(date(2026, 10, 1), date(2026, 11, 1)), Span(date(2026, 9, 1), date(2026, 10, 1)))
    assert compared_spans(october, TODAY) == (october, september)


def test_a_month_that_is_not_over_is_compared_as_far_as_it_went() -> None:
    now, before = compared_spans(NOVEMBER, TODAY)
    assert now == Span(date(2026, 11, 1), date(2026, 11, 22))
    assert before == Span(date(2026, 10, 1), date(2026, 10, 22))
    march = Span(date(2026, 3, 1), date(2026, 4, 1))
    assert compared_spans(march, date(2026, 3, 30))[1] == Span(date(2026, 2, 1), date(2026, 3, 1))


def test_other_spans_are_compared_with_as_many_days_before() -> None:
    week = Span(date(2026, 11, 2), date(2026, 11, 9))
    assert compared_spans(week, TODAY) == (week, Span(date(2026, 10, 26), date(2026, 11, 2)))
    with pytest.raises(BadQuery, match="not begun"):
        compared_spans(Span(TODAY + timedelta(days=1), TODAY + timedelta(days=2)), TODAY)
