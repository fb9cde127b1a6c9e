import pytest

from proxy.config.plain import as_list, as_mapping, entries, sections


def test_what_is_of_the_right_shape_is_given_as_it_stands() -> None:
    assert as_mapping({"a": 1}) == {"a": 1}
    assert as_list([1]) == [1]
    assert list(entries({"targets": [{"a": 1}, "x"]}, "targets")) == [(0, {"a": 1}), (1, {})]
    assert list(sections({"m": {"a": 1}, "n": 7})) == [("m", {"a": 1}), ("n", {})]


@pytest.mark.parametrize("value", [None, 7, "text", True])
def test_what_is_not_counts_as_empty(value: object) -> None:
    assert as_mapping(value) == {}
    assert as_list(value) == []
    assert list(entries({"targets": value}, "targets")) == []
