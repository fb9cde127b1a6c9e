from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.cache import KeptVector, input_key, input_scope, key_of, pack_vector, unpack_vector
from proxy.cache.vectors import is_vector

SCOPE = b"s" * 32
BODY: dict[str, Any] = {"model": "m", "input": "x"}


def scope(team: str = "search", of: bytes = SCOPE, **fields: Any) -> bytes:
    made = input_scope(of, team, {**BODY, **fields})
    assert made is not None
    return made


def test_the_form_and_the_other_inputs_do_not_change_what_an_input_is_found_by() -> None:
    assert scope() == scope(input=["x", "y"]) == scope(encoding_format="base64") == scope(user="u", model="alias")


def test_team_config_and_parameters_do() -> None:
    made = {
        scope(),
        scope("sales"),
        scope(of=b"t" * 32),
        scope(dimensions=8),
        scope(dimensions=9),
        scope(input_type="query"),
    }
    assert len(made) == 6


INPUTS = st.text(min_size=1) | st.lists(st.integers(0, 2**31), min_size=1)


@given(INPUTS, INPUTS)
def test_inputs_are_told_apart(one: Any, other: Any) -> None:
    assert (input_key(scope(), one) == input_key(scope(), other)) is (one == other)


def test_a_text_is_not_its_tokens_nor_a_chat_completion() -> None:
    assert input_key(scope(), "[1]") != input_key(scope(), [1])
    assert input_key(scope(), "x") != key_of(SCOPE, "search", {})


def test_parameters_too_deep_to_be_written_have_no_key() -> None:
    deep: Any = 0
    for _ in range(600):
        deep = [deep]
    assert input_scope(SCOPE, "search", {**BODY, "x": deep}) is None


@given(st.binary(min_size=4), st.text(), st.integers(0, 2**32 - 1))
def test_what_is_stored_comes_back(vector: bytes, model: str, tokens: int) -> None:
    kept = KeptVector(vector, model, tokens)
    assert unpack_vector(pack_vector(kept)) == kept


def test_absurd_figures_are_cut_and_the_vector_stays() -> None:
    kept = unpack_vector(pack_vector(KeptVector(b"\0" * 8, "é" * 70_000, 2**40)))
    assert (kept.vector, kept.tokens, set(kept.model)) == (b"\0" * 8, 2**32 - 1, {"é"})


def test_what_is_no_vector_is_told() -> None:
    packed = pack_vector(KeptVector(bytes(8), "m", 3))
    assert is_vector(packed)
    for other in (b"", packed[:5], packed[:-1], packed[:-8], b'{"choices":[]}'):
        assert not is_vector(other)
