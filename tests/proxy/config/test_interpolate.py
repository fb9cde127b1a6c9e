import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.interpolate import UnresolvedError, interpolate

ENVIRON = {"A": "one", "EMPTY": "", "WITH": "a ${A} b"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("${A}", "one"),
        ("x-${A}-${A}", "x-one-one"),
        ("${NONE:-two}", "two"),
        ("${EMPTY:-two}", "two"),
        ("${A:-two}", "one"),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b}", "a:-b"),
        ("$${A}", "${A}"),
        ("$A", "$A"),
        ("${WITH}", "a ${A} b"),
    ],
)
def test_references_are_replaced_once(text: str, value: str) -> None:
    assert interpolate(text, ENVIRON) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NONE}", "NONE is not set"),
        ("${EMPTY}", "EMPTY is empty"),
        ("${}", "reads"),
        ("${a-b}", "reads"),
        ("${A", "reads"),
        ("${1A}", "reads"),
        ("${NONE:-${A}}", "reads"),
    ],
)
def test_what_cannot_be_resolved_is_named(text: str, message: str) -> None:
    with pytest.raises(UnresolvedError, match=message):
        interpolate(text, ENVIRON)


def test_a_missing_variable_comes_with_the_way_to_give_a_default() -> None:
    with pytest.raises(UnresolvedError) as caught:
        interpolate("${NONE}", ENVIRON)
    assert caught.value.hint == "set it, or give a default: ${NONE:-default}"


@given(st.text(alphabet="A${}:-s3 "))
def test_no_text_shows_a_value_in_its_fault(text: str) -> None:
    said = ""
    try:
        interpolate(text, {"A": "s3cret-value"})
    except UnresolvedError as error:
        said = str(error)
    assert "s3cret-value" not in said
