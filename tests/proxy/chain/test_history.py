import pytest

from proxy.call import Call
from proxy.chain.history import History
from routing import Basis, Exclusion, Facts, Plan, Target
from tests.calls import a_call

TARGET = Target("a/m", "a", "m")


def a_plan(ratings: int = 0, excluded: int = 0) -> Plan:
    rating = (0.0, 0, "a/m", 0.0, 1.0, 1.0, 0.4, 0.0, 0.0, False)
    return Plan(
        "balanced",
        (),
        (Exclusion(TARGET, "drained"),) * excluded,
        Basis(True, 2.0, (0.1, 0.0, 0.1), (rating,) * ratings),
    )


def planned(id: str, request_id: str | None = None, plan: Plan | None = None, plans: int = 1) -> Call:
    call = a_call()
    call.id, call.request_id = id, request_id or id
    for at in range(plans):
        call.plans.append((float(at), Facts("chat", stream=False), plan or a_plan()))
    return call


def test_a_call_is_found_by_either_of_its_ids() -> None:
    history = History()
    call = planned("req_1", "mine")
    call.status, call.error = 503, "overloaded"
    history.keep(call)
    kept = history.find("mine")
    assert kept is not None
    assert kept == history.find("req_1")
    assert (kept.model, kept.status, kept.error, kept.plans) == ("chat", 503, "overloaded", call.plans)


def test_of_calls_with_the_same_request_id_the_latest_is_found_and_the_others_by_their_own() -> None:
    history = History()
    for number in range(3):
        history.keep(planned(f"req_{number}", "again"))
    assert [one.id for one in (history.find("again"), history.find("req_0")) if one is not None] == ["req_2", "req_0"]


def test_a_call_that_was_never_planned_is_not_kept() -> None:
    history = History()
    history.keep(planned("req_1", plans=0))
    assert len(history) == 0
    assert history.find("req_1") is None


def test_the_oldest_call_goes_first() -> None:
    history = History(max_calls=2)
    for number in range(3):
        history.keep(planned(f"req_{number}"))
    assert [history.find(f"req_{number}") is not None for number in range(3)] == [False, True, True]


@pytest.mark.parametrize(
    "large",
    [
        planned("req_9", plan=a_plan(ratings=95)),
        planned("req_9", plan=a_plan(excluded=95)),
        planned("req_9", plans=20),
    ],
    ids=["many targets", "many left out", "many attempts"],
)
def test_large_calls_push_out_more_than_one(large: Call) -> None:
    history = History(max_weight=100)
    for number in range(8):
        history.keep(planned(f"req_{number}"))
    assert len(history) == 8
    history.keep(large)
    assert len(history) == 1
    assert history.find("req_9") is not None


def test_of_a_failure_behind_a_fixed_answer_the_failure_is_kept() -> None:
    history, call = History(), planned("req_1")
    call.status, call.failed_status, call.fallback = 200, 503, "static"
    history.keep(call)
    kept = history.find("req_1")
    assert kept is not None
    assert (kept.status, kept.fallback) == (503, "static")


def test_no_client_can_take_the_place_of_another_call_by_its_id() -> None:
    history, victim, thief = History(), a_call(), a_call()
    victim.id = victim.request_id = thief.request_id = "req_victim"
    thief.id = "req_thief"
    for call in (victim, thief):
        call.plans.append((0.0, Facts("chat", stream=False), Plan("balanced", ())))
        history.keep(call)
    found = history.find("req_victim")
    assert found is not None
    assert found.id == "req_victim"
