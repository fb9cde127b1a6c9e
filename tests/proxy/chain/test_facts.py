from dataclasses import replace
from math import inf

import pytest

from proxy.chain.catalogue import Model
from proxy.chain.facts import client_patience_s, deadline_of, facts_of, input_tokens_of, outgrown, output_cap_of
from proxy.providers import Patience
from routing import Facts, Target
from tests.calls import a_call, an_embeddings_call

CHOSEN = Model("chat", (), Patience(1, 5, 5, 60), 15, (), ttft_s=3.0, is_chosen=True)
SMALL = Model("chat", (), Patience(1, 5, 5, 60), 15, (), is_chosen=True, least_context=1000)
PLAIN = Model("chat", (), Patience(1, 5, 5, None), 15, ())


def test_a_model_that_only_takes_turns_is_told_no_more_than_it_needs() -> None:
    facts = facts_of(a_call(), PLAIN)
    assert (facts.model, facts.stream, facts.input_tokens, facts.deadline_at) == ("chat", False, 0, inf)


def test_a_model_that_chooses_is_told_the_size_the_cap_and_the_needs() -> None:
    call = a_call(stream=True, received_at=100.0)
    call.request.size_bytes = 4000
    call.request.body |= {"max_tokens": 50, "tools": [{"type": "function"}]}
    facts = facts_of(call, CHOSEN)
    assert (facts.input_tokens, facts.max_output_tokens, set(facts.needs)) == (1000, 50, {"tools"})
    assert (facts.deadline_at, facts.first_token_at) == (160.0, 103.0)
    call.request.body["max_completion_tokens"] = 20
    assert facts_of(call, CHOSEN).max_output_tokens == 20


def test_what_makes_calls_belong_together_depends_on_the_team() -> None:
    call = a_call()
    call.request.body["messages"] = [{"role": "user", "content": "x" * 5000}]
    mine = facts_of(call, CHOSEN).sticky
    call.principal = None
    assert mine is not None
    assert facts_of(call, CHOSEN).sticky != mine


@pytest.mark.parametrize(
    ("header", "stream", "deadline_at"),
    [
        (b"10", False, 9.8),
        (b"0.2", False, 0.1),
        (b"600", False, 60.0),
        (b"10", True, 60.0),  # comments keep a stream alive
        (b"nan", False, 60.0),
        (b"inf", False, 60.0),
        (b"-1", False, 60.0),
        (b"soon", False, 60.0),
    ],
)
def test_the_clients_own_patience_ends_an_answer_that_comes_whole(
    header: bytes, stream: bool, deadline_at: float
) -> None:
    call = a_call(stream=stream, headers={b"x-stainless-read-timeout": header})
    assert facts_of(call, CHOSEN).deadline_at == pytest.approx(deadline_at)


def test_a_client_that_says_nothing_has_no_patience_of_its_own() -> None:
    assert client_patience_s(a_call()) is None


def test_text_is_counted_only_where_the_smallest_context_might_not_hold_it() -> None:
    call = a_call()
    call.request.body["messages"] = [{"role": "user", "content": "x" * 3900}, {"role": "assistant", "content": None}]
    call.request.size_bytes = 4000
    assert (facts_of(call, SMALL).input_tokens, facts_of(call, SMALL).least_tokens) == (1000, 0)
    call.request.body["max_tokens"] = 1
    assert (facts_of(call, SMALL).input_tokens, facts_of(call, SMALL).least_tokens) == (1000, 3900 // 8)
    assert facts_of(call, CHOSEN).least_tokens == 0


def test_an_image_written_as_text_is_no_text() -> None:
    call = a_call()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000, "detail": "low"}}
    parts = [{"type": "text", "text": "y" * 800}, image, "nonsense", {"type": "text", "text": 5}]
    call.request.body["messages"] = [{"role": "user", "content": parts}]
    call.request.size_bytes = 101_025
    for model in (CHOSEN, SMALL):
        facts = facts_of(call, model)
        assert (facts.input_tokens, facts.least_tokens) == (1000 // 4, 100)


def test_what_outgrew_a_context_is_known_to_be_longer() -> None:
    facts = Facts("chat", stream=False, least_tokens=300, max_output_tokens=100, tried=("p/x",))
    refused = outgrown(facts, Target("p/m", "p", "m", context_tokens=1000))
    assert refused is not None
    assert (refused.least_tokens, refused.tried) == (901, ("p/x", "p/m"))
    assert outgrown(facts, Target("p/m", "p", "m")) is None


@pytest.mark.parametrize(("stream", "deadline_at"), [(False, 100 + 9.8), (True, 100 + 60.0)])
def test_a_deadline_is_the_models_own_or_its_clients_if_that_comes_first(stream: bool, deadline_at: float) -> None:
    call = a_call(stream=stream, headers={b"x-stainless-read-timeout": b"10"}, received_at=100.0)
    assert deadline_of(call, CHOSEN) == pytest.approx(deadline_at)


def test_a_prompts_tokens_are_estimated_by_its_size_without_what_is_no_text() -> None:
    request = a_call().request
    request.size_bytes = 400
    assert input_tokens_of(request) == 100
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}
    request.body["messages"] = [{"role": "user", "content": [{"type": "text", "text": "x" * 4000}, image]}]
    request.size_bytes = 404_200
    assert 1000 <= input_tokens_of(request) <= 1100


@pytest.mark.parametrize(
    ("body", "cap"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
        ({"max_tokens": 0}, None),
        ({"max_tokens": -3}, None),
        ({"max_tokens": True}, None),
        ({"max_tokens": 10**30}, 10**30),
    ],
)
def test_the_clients_own_bound_is_a_count_or_none(body: dict[str, object], cap: int | None) -> None:
    assert output_cap_of(body) == cap


def test_embeddings_are_a_need_of_their_own_and_no_length() -> None:
    call = an_embeddings_call("x" * 400, "y" * 400)
    for model in (PLAIN, SMALL):
        facts = facts_of(call, model)
        assert (set(facts.needs), facts.stream, facts.least_tokens) == ({"embeddings"}, False, 0)
        assert facts.input_tokens == call.request.size_bytes // 4 > 200


def test_a_chat_completion_is_a_need_where_some_target_has_none() -> None:
    call = a_call()
    call.request.body["seed"] = 1
    assert facts_of(call, CHOSEN).needs == {"seed"}
    assert facts_of(call, replace(CHOSEN, has_no_chat=True)).needs == {"seed", "chat"}
