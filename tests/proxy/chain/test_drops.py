import pytest

from proxy.call import Attempt
from proxy.chain.drops import request_for
from routing import Target
from tests.calls import chat_request

DROPS = Target("p/m", "p", "m", drop_params=("seed", "user", "logit_bias"))


def an_attempt() -> Attempt:
    return Attempt("p/m", "m", "p", 0.0)


def test_what_the_target_does_not_know_is_left_out_for_it_alone_and_told() -> None:
    request, attempt = chat_request(stream=True), an_attempt()
    request.body |= {"logit_bias": {}, "seed": 7, "temperature": 0.5}
    sent = request_for(DROPS, request, attempt)
    assert set(sent.body) == {"model", "messages", "stream", "temperature"}
    assert attempt.dropped == ("seed", "logit_bias")
    assert (sent.stream, sent.model, sent.n) == (request.stream, request.model, request.n)
    assert request.body["seed"] == 7


def test_a_null_is_left_out_too_but_nobody_misses_it() -> None:
    request, attempt = chat_request(), an_attempt()
    request.body["seed"] = None
    assert "seed" not in request_for(DROPS, request, attempt).body
    assert attempt.dropped == ()


@pytest.mark.parametrize("target", [DROPS, Target("p/m", "p", "m")])
def test_a_request_from_which_nothing_is_left_out_is_the_very_same(target: Target) -> None:
    request, attempt = chat_request(), an_attempt()
    assert request_for(target, request, attempt) is request
    assert attempt.dropped == ()
