from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.cache.key import IGNORED, key_of, scope_of
from proxy.config.load import load_text
from tests.gateways import CONFIG

SCOPE = b"s" * 32
BODY: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
fields = st.dictionaries(st.text(min_size=1, max_size=6).map("x_{}".format), values, max_size=4)


def key(body: dict[str, Any], team: str = "search", scope: bytes = SCOPE) -> bytes:
    found = key_of(scope, team, body)
    assert found is not None
    return found


def said(body: dict[str, Any]) -> bytes:
    """What a request says, whatever the order of its fields."""
    kept = {name: value for name, value in body.items() if name not in IGNORED and value is not None}
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)


def shuffled(value: Any, rng: Random) -> Any:
    """The same with the members of every object in another order."""
    if isinstance(value, list):
        return [shuffled(one, rng) for one in value]
    if not isinstance(value, dict):
        return value
    members = [(name, shuffled(one, rng)) for name, one in value.items()]
    rng.shuffle(members)
    return dict(members)


@given(fields, fields)
def test_two_requests_have_the_same_key_only_if_they_say_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (key(BODY | one) == key(BODY | other)) == (said(BODY | one) == said(BODY | other))


@given(fields, st.randoms(use_true_random=False))
def test_the_order_of_fields_does_not_matter(one: dict[str, Any], rng: Random) -> None:
    assert key(shuffled(BODY | one, rng)) == key(BODY | one)


@given(fields, st.sampled_from(sorted(IGNORED)), values)
def test_ignored_fields_do_not_matter(one: dict[str, Any], name: str, value: Any) -> None:
    assert key(BODY | one | {name: value}) == key(BODY | one)


@given(fields, st.text(min_size=1, max_size=6), values)
def test_any_other_field_does(one: dict[str, Any], name: str, value: Any) -> None:
    assume(name not in IGNORED and name not in one and name not in BODY and value is not None)
    assert key(BODY | one | {name: value}) != key(BODY | one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"seed": 1}, {"seed": 1.0}),
        ({"seed": 1}, {"seed": True}),
        ({"seed": 0}, {"seed": False}),
        ({"seed": 1}, {"seed": "1"}),
        ({"stop": "a"}, {"stop": ["a"]}),
        ({"temperature": 0.1}, {"temperature": 0.10000000000000002}),
        ({"messages": [{"role": "user", "content": "a"}]}, {"messages": [{"role": "system", "content": "a"}]}),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
            {"messages": [{"role": "user", "content": "b"}, {"role": "user", "content": "a"}]},
        ),
        (
            {"messages": [{"role": "user", "content": "don't cancel"}]},
            {"messages": [{"role": "user", "content": "cancel"}]},
        ),
        ({"messages": [{"role": "user", "content": "a "}]}, {"messages": [{"role": "user", "content": "a"}]}),
    ],
)
def test_what_looks_alike_is_told_apart(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key(BODY | one) != key(BODY | other)


def test_a_null_field_is_an_absent_one() -> None:
    assert key(BODY | {"seed": None}) == key(BODY)


@pytest.mark.parametrize("field", ["response_format", "tools", "guided_json", "structured_outputs", "format"])
def test_a_schema_is_taken_in_its_order(field: str) -> None:
    """Models write the fields of an object in the order of its schema."""
    first: dict[str, Any] = {field: {"properties": {"a": {}, "b": {}}}}
    assert key(BODY | first) != key(BODY | {field: {"properties": {"b": {}, "a": {}}}})


def test_teams_and_models_have_keys_of_their_own() -> None:
    assert len({key(BODY, team, scope) for team in ("a", "b") for scope in (b"s" * 32, b"t" * 32)}) == 4
    assert key({"messages": []}, "a") != key({"messages": []}, "a2")


def test_a_request_that_cannot_be_written_has_no_key() -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    assert key_of(SCOPE, "search", BODY | {"x": deep}) is None


def test_100_000_random_requests_meet_no_other_ones_answer() -> None:
    """Teams, models, system prompts, histories and parameters, drawn from few words so that many are nearly alike."""
    rng = Random(5)
    words = ["cancel", "don't cancel", "1", "1.0", "yes", "Yes", "", "a b", "ab"]
    seen: dict[bytes, tuple[str, bytes, bytes]] = {}
    for _ in range(100_000):
        messages = [
            {"role": rng.choice(["system", "user", "assistant"]), "content": rng.choice(words)}
            for _ in range(rng.randint(1, 4))
        ]
        body: dict[str, Any] = {"model": "chat", "messages": messages}
        if rng.random() < 0.5:
            body[rng.choice(["seed", "top_p", "max_tokens", "presence_penalty"])] = rng.choice([1, 1.0, 0, 0.5, True])
        team, scope = rng.choice(["a", "b", "ab", ""]), rng.choice([b"s" * 32, b"t" * 32])
        said_here = (team, scope, said(body))
        assert seen.setdefault(key(body, team, scope), said_here) == said_here
    assert len(seen) > 30_000


def scope(old: str = "", new: str = "") -> bytes:
    assert old in CONFIG
    config = load_text(CONFIG.replace(old, new) if old else CONFIG, {}, "a.yaml").config
    return scope_of("chat", config.models["chat"], config.providers)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("model: demo-1", "model: demo-3"),
        ("model: demo-1", "drop_params: [seed], model: demo-1"),
        ("kind: demo,", "kind: demo, profile: cheap,"),
        ("kind: demo, faults: {first_token: 0ms, per_token: 0ms}", 'kind: openai, base_url: "http://h/v1"'),
    ],
)
def test_a_change_of_who_answers_changes_the_scope(old: str, new: str) -> None:
    assert scope(old, new) != scope()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("model: demo-1", "capacity: {rpm: 5}, model: demo-1"),
        ("model: demo-1", "price_usd_per_mtok: {input: 1, output: 2}, model: demo-1"),
        ("chat: {", "chat: {timeouts: {total: 5s}, "),
        ("aliases: [default,", "aliases: [usual, default,"),
    ],
)
def test_a_change_of_rates_prices_and_times_does_not(old: str, new: str) -> None:
    assert scope(old, new) == scope()


def test_each_model_has_a_scope_of_its_own() -> None:
    config = load_text(CONFIG, {}, "a.yaml").config
    same = config.models["chat"]
    assert scope_of("chat", same, config.providers) != scope_of("other", same, config.providers)
