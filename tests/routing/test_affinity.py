from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.affinity import Affinity, sticky_key

SYSTEM = "You are the assistant of a bookshop. " * 10
TOOL = {"type": "function", "function": {"name": "find_book", "description": "Looks a book up by title."}}


def warm(affinity: Affinity, sticky: int | None, target: str, input_tokens: int, now: float) -> int:
    """What one target probably has of it."""
    return affinity.warm(sticky, input_tokens, now).get(target, 0)


def chat(*contents: object, system: object = SYSTEM, **rest: object) -> dict[str, object]:
    roles = ("user", "assistant")
    turns = [{"role": roles[index % 2], "content": content} for index, content in enumerate(contents)]
    return {"model": "m", "messages": [{"role": "system", "content": system}, *turns], **rest}


def key(request: Mapping[str, object], team: str = "red") -> int:
    found = sticky_key(request, team)
    assert found is not None
    return found


def test_a_conversation_keeps_its_key_as_it_grows() -> None:
    first = key(chat("Do you have Emma?"))
    grown = chat("Do you have Emma?", "Yes.", "And Persuasion?")
    assert key(grown) == first
    messages = grown["messages"]
    assert isinstance(messages, list)
    messages.append({"role": "system", "content": "The shop closes soon."})
    assert key(grown) == first


def test_what_makes_another_prefix_makes_another_key() -> None:
    base = chat("Do you have Emma?")
    others = [
        chat("Do you have Ulysses?"),
        chat("Do you have Emma?", system=f"Today is Monday. {SYSTEM}"),
        chat("Do you have Emma?", model="other"),
        chat("Do you have Emma?", tools=[TOOL]),
        chat("Do you have Emma?", tools=[TOOL, TOOL]),
    ]
    keys = {key(base), key(base, team="blue"), *(key(other) for other in others)}
    assert len(keys) == len(others) + 2


def test_the_key_is_64_bits_and_the_same_in_every_process() -> None:
    assert key(chat("Do you have Emma?")) == 5_077_345_138_997_440_938
    assert 0 <= key(chat("Do you have Emma?")) < 2**64


def test_a_system_message_and_a_user_message_do_not_run_together() -> None:
    one = {"messages": [{"role": "user", "content": SYSTEM + "Hello"}]}
    two = {"messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Hello"}]}
    assert key(one) != key(two)


def test_developer_and_text_parts_are_read_like_plain_text() -> None:
    parts = [{"type": "text", "text": "Do you have Emma?"}, {"type": "image_url", "image_url": {"url": "x"}}]
    assert key(chat(parts)) == key(chat("Do you have Emma?"))


def test_a_short_request_has_no_key() -> None:
    assert sticky_key(chat("x" * 99, system="y" * 100), "red") is None
    assert sticky_key(chat("x" * 100, system="y" * 100), "red") is not None
    assert sticky_key(chat("x" * 10, "z" * 100, "a" * 90, system=""), "red") is not None


def test_tools_count_as_text() -> None:
    long_tool = {"type": "function", "function": {"name": "f", "description": "d" * 199}}
    assert sticky_key(chat("", system="", tools=[long_tool]), "red") is not None


def test_only_the_first_4096_characters_of_a_text_are_hashed() -> None:
    assert key(chat("a" * 4096 + "b")) == key(chat("a" * 4096 + "c"))
    assert key(chat("a" * 4095 + "b")) != key(chat("a" * 4095 + "c"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text("ab\ud800证", max_size=300),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["role", "content", "type", "text", "function", "name", "messages", "tools", "model"]),
                inner,
                max_size=6,
            )
        ),
    )
)
def test_any_json_is_read_without_a_fault(value: object) -> None:
    for request in (value if isinstance(value, dict) else {}, {"messages": value, "tools": value}):
        found = sticky_key(request, "red")
        assert found is None or 0 <= found < 2**64


def test_a_lone_surrogate_is_hashed() -> None:
    assert sticky_key(chat("\ud800"), "red") is not None


# -- where it is warm --


def test_a_served_prompt_is_warm_in_steps_of_128_tokens() -> None:
    affinity = Affinity()
    affinity.served(1, "a", 2000, 10.0)
    assert warm(affinity, 1, "a", 3000, 11.0) == 1920
    assert warm(affinity, 1, "a", 1500, 11.0) == 1408
    assert warm(affinity, 1, "a", 1024, 11.0) == 1024


def test_below_1024_tokens_nothing_is_warm() -> None:
    affinity = Affinity()
    affinity.served(1, "a", 1023, 10.0)
    assert warm(affinity, 1, "a", 5000, 11.0) == 0
    affinity.served(1, "a", 5000, 10.0)
    assert warm(affinity, 1, "a", 1023, 11.0) == 0


def test_other_targets_and_other_keys_are_cold() -> None:
    affinity = Affinity()
    affinity.served(1, "a", 2048, 10.0)
    assert warm(affinity, 1, "b", 2048, 10.0) == 0
    assert warm(affinity, 2, "a", 2048, 10.0) == 0


def test_without_a_key_nothing_is_kept() -> None:
    affinity = Affinity()
    affinity.served(None, "a", 2048, 10.0)
    assert len(affinity) == 0
    assert warm(affinity, None, "a", 2048, 10.0) == 0


def test_warmth_ends_with_the_time_to_live_and_each_use_renews_it() -> None:
    affinity = Affinity(ttl_s=300.0)
    affinity.served(1, "a", 2048, 0.0)
    assert warm(affinity, 1, "a", 2048, 299.0) == 2048
    assert warm(affinity, 1, "a", 2048, 300.0) == 0
    affinity.served(1, "a", 2048, 299.0)
    assert warm(affinity, 1, "a", 2048, 598.0) == 2048


def test_a_key_may_be_warm_at_three_targets_and_the_oldest_gives_way() -> None:
    affinity = Affinity()
    for at, target in enumerate("abca"):
        affinity.served(1, target, 2048, float(at))
    assert [warm(affinity, 1, target, 2048, 4.0) for target in "abc"] == [2048, 2048, 2048]
    affinity.served(1, "d", 2048, 5.0)
    assert [warm(affinity, 1, target, 2048, 5.0) for target in "abcd"] == [2048, 0, 2048, 2048]


def test_the_key_unserved_for_longest_makes_room() -> None:
    affinity = Affinity(max_entries=2)
    for at, sticky in enumerate((1, 2, 1, 3)):
        affinity.served(sticky, "a", 2048, float(at))
    assert len(affinity) == 2
    assert [warm(affinity, sticky, "a", 2048, 4.0) for sticky in (1, 2, 3)] == [2048, 0, 2048]


@pytest.mark.parametrize(("ttl_s", "max_entries"), [(0.0, 1), (-1.0, 1), (float("nan"), 1), (1.0, 0)])
def test_a_map_that_could_hold_nothing_is_refused(ttl_s: float, max_entries: int) -> None:
    with pytest.raises(ValueError, match="max_entries"):
        Affinity(ttl_s, max_entries)
