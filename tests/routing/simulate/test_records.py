import pytest

from routing.simulate.records import CallRecord, Ending


@pytest.mark.parametrize(
    ("ending", "is_ok"),
    [("ok", True), ("cut", False), ("failed", False), ("no_candidate", False), ("gave_up", False), ("deadline", False)],
)
def test_only_a_whole_answer_is_a_success(ending: Ending, is_ok: bool) -> None:
    assert CallRecord(0, 0.0, ending, 0.5, 1.0, 0.0, 10, 0, 1, 0, 0, "a").is_ok is is_ok
