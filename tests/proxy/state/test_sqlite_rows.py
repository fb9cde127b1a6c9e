from proxy.state.base import Period
from proxy.state.sqlite_rows import CALL_COLUMNS, call_row
from proxy.state.sums import ATTEMPT_COLUMNS, attempt_rows
from tests.books import attempt, settlement

PERIOD = Period(3600, "2026-11-21")


def test_rows_have_their_columns() -> None:
    entry = settlement("a", attempt(), attempt("qwen"))
    assert len(call_row(1, 0, 1, entry, PERIOD)) == len(CALL_COLUMNS)
    assert [row[:4] for row in attempt_rows(7, entry)] == [(7, 0, "openai/m", "openai"), (7, 1, "qwen/m", "qwen")]
    assert all(len(row) == len(ATTEMPT_COLUMNS) for row in attempt_rows(7, entry))
