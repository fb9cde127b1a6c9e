from proxy.chain.refusal import nobody
from proxy.errors import ContextLengthExceeded, InvalidRequest, Overloaded
from routing import Exclusion, Facts, Target
from routing.fit import unfit


def excluded(facts: Facts, *targets: Target) -> list[Exclusion]:
    return [Exclusion(target, *(unfit(target, facts) or ("rate limit", 7.0))) for target in targets]


def a_target(name: str, context: int | None = None, lacks: str = "") -> Target:
    return Target(f"p/{name}", "p", name, context_tokens=context, lacks=frozenset(lacks.split()))


def test_a_request_too_long_for_all_is_told_both_figures_and_the_largest_context() -> None:
    facts = Facts("chat", stream=False, input_tokens=40_000, least_tokens=20_000, max_output_tokens=1500)
    error = nobody(facts, excluded(facts, a_target("a", 8000), a_target("b", 16_000)))
    assert isinstance(error, ContextLengthExceeded)
    assert (error.status, error.code, error.param, error.should_retry) == (
        400,
        "context_length_exceeded",
        "messages",
        False,
    )
    assert "16,000 tokens" in error.message
    assert "about 40,000 tokens of input and up to 1,500 of output" in error.message


def test_of_targets_that_lack_something_and_others_that_are_too_small_the_size_is_what_stands_in_the_way() -> None:
    facts = Facts("chat", stream=False, least_tokens=20_000, needs=frozenset({"tools"}))
    error = nobody(facts, excluded(facts, a_target("a", 99_000, "tools"), a_target("b", 16_000)))
    assert isinstance(error, ContextLengthExceeded)
    assert "16,000 tokens" in error.message


def test_what_all_targets_lack_is_named_in_words_with_its_parameter() -> None:
    facts = Facts("chat", stream=False, needs=frozenset({"json_schema", "vision"}))
    error = nobody(
        facts, excluded(facts, a_target("a", None, "json_schema vision"), a_target("b", None, "json_schema"))
    )
    assert isinstance(error, InvalidRequest)
    assert (error.status, error.code, error.param) == (400, None, "response_format")
    assert "answers by a JSON schema" in error.message
    assert "images" not in error.message


def test_where_each_target_lacks_something_else_all_of_it_is_named() -> None:
    facts = Facts("chat", stream=False, needs=frozenset({"tools", "vision"}))
    error = nobody(facts, excluded(facts, a_target("a", None, "tools"), a_target("b", None, "vision")))
    assert "tool calls and images" in error.message


def test_while_one_is_only_busy_the_call_may_be_tried_again() -> None:
    facts = Facts("chat", stream=False, needs=frozenset({"tools"}))
    error = nobody(facts, excluded(facts, a_target("a", None, "tools"), a_target("b")))
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 7.0
