from decimal import Decimal

import pytest

from proxy.accounting.provider_export import BadExport, Charge, read_openai_costs
from tests.reported import COSTS_HEADER, DAY_S, FIRST_S
from tests.reported import costs_row as row


def test_amounts_are_added_up_by_key_and_day() -> None:
    found = read_openai_costs(
        [
            COSTS_HEADER,
            row("0.0038359800000000", "key_a"),
            row("1", "key_a"),
            row("2.5", "key_b"),
            row("4", "key_a", 1),
        ]
    )
    assert found.days == {"2026-11-21", "2026-11-22"}
    assert found.charges == (
        Charge("key_a", "2026-11-21", Decimal("1003835980")),
        Charge("key_a", "2026-11-22", Decimal(4 * 10**9)),
        Charge("key_b", "2026-11-21", Decimal("2500000000")),
    )


def test_a_day_without_charges_is_a_day_all_the_same() -> None:
    found = read_openai_costs([COSTS_HEADER, row("", currency="")])
    assert found.days == {"2026-11-21"}
    assert found.charges == ()


def test_amounts_smaller_than_a_nano_dollar_are_not_lost() -> None:
    found = read_openai_costs([COSTS_HEADER, *([row("0.0000000004")] * 5)])
    assert found.charges == (Charge("", "2026-11-21", Decimal("2.0000000000")),)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "no column start_time"),
        (["date,cost", "2026-11-21,5"], "no column start_time, end_time, amount_value, amount_currency"),
        ([COSTS_HEADER, row("five")], "line 2: amount_value"),
        ([COSTS_HEADER, row("NaN")], "line 2: amount_value"),
        ([COSTS_HEADER, row("1e30")], "line 2: amount_value"),
        ([COSTS_HEADER, row("5", currency="eur")], "'eur', not in usd"),
        ([COSTS_HEADER, row("5", end_s=FIRST_S + 2 * DAY_S)], "more than one day"),
        ([COSTS_HEADER, row("5", end_s=FIRST_S)], "more than one day"),
        ([COSTS_HEADER, "soon,later,,,5,usd"], "line 2: start_time"),
        ([COSTS_HEADER, f"{10**20},{10**20 + 1},,,5,usd"], "line 2: start_time"),
        ([COSTS_HEADER, "1"], "line 2: start_time"),
        ([COSTS_HEADER, '"' + "x" * 200_000 + '"'], "is no CSV"),
    ],
)
def test_a_file_that_is_something_else_is_refused_with_its_line(lines: list[str], said: str) -> None:
    with pytest.raises(BadExport) as caught:
        read_openai_costs(lines)
    assert said in str(caught.value)
