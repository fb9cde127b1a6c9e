from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.faults import ConfigFaults
from proxy.config.load import Loaded, load, load_text

GOOD = """\
version: 1
providers: {p: {kind: demo}}
models: {chat: {targets: [{provider: p, model: m}]}}
teams: {t: {keys: [{name: k, key: "${KEY}"}]}}
"""
KEY = "sk-way-0123456789"


def read(text: str, **environ: str) -> Loaded:
    return load_text(text, {"KEY": KEY, **environ}, "my.yaml")


def faults(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigFaults) as caught:
        read(text, **environ)
    return [str(fault) for fault in caught.value.faults]


def test_a_good_file_is_loaded_and_hashed() -> None:
    loaded = read(GOOD)
    assert loaded.config.teams["t"].keys[0].key is not None
    assert loaded.config.teams["t"].keys[0].key.get_secret_value() == KEY
    assert len(loaded.config_hash) == 12
    assert loaded.warnings == ()


def test_the_hash_follows_what_is_said_and_not_how_or_by_which_secret() -> None:
    base = read(GOOD).config_hash
    assert read("# a comment\n" + GOOD.replace("kind: demo", "kind:  'demo'")).config_hash == base
    assert read(GOOD, KEY="another-key-0123456").config_hash == base
    assert read(GOOD.replace("model: m", "model: n")).config_hash != base


def test_all_faults_come_at_once_in_the_order_of_the_file_with_their_places() -> None:
    text = """\
version: 2
server:
  lisen: "127.0.0.1:8080"
  drain: 60
providers:
  p: {kind: demo, api_kye: x}
models:
  chat:
    strategy: cheapst
    targets:
      - {provider: q, model: m}
      - {provider: p}
teams:
  t:
    models: [caht]
    keys:
      - {name: k, key: "${NONE}"}
      - {name: l, key: short}
"""
    assert faults(text) == [
        "my.yaml:1:10: version: Input should be 1",
        "my.yaml:3:3: server: unknown key 'lisen' (did you mean 'listen'?)",
        "my.yaml:4:10: server.drain: expected a duration such as 250ms, 2s, 5m, 1h or 30d",
        "my.yaml:6:19: providers.p: unknown key 'api_kye' (did you mean 'api_key'?)",
        "my.yaml:9:15: models.chat.strategy: Input should be 'cheapest', 'fastest', 'reliable', 'balanced', "
        "'round_robin' or 'weighted'",
        "my.yaml:11:20: models.chat.targets[0].provider: there is no provider 'q' (known: p)",
        "my.yaml:12:9: models.chat.targets[1]: 'model' is required",
        "my.yaml:15:14: teams.t.models[0]: there is no model 'caht' (did you mean 'chat'?)",
        "my.yaml:17:24: teams.t.keys[0].key: the environment variable NONE is not set "
        "(set it, or give a default: ${VAR:-default})",
        "my.yaml:18:24: teams.t.keys[1].key: expected at least 16 printable ASCII characters without spaces",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "my.yaml:1:1: the file must hold a mapping (it begins with 'version: 1')"),
        ("- a\n- b\n", "my.yaml:1:1: the file must hold a mapping"),
        ("a: [1,\n  b", "my.yaml:2:4: not valid YAML"),
        ("a:\n\tb: 1\n", "my.yaml:2:1: not valid YAML: found character '\\t'"),
        ("version: 1\nversion: 1\n", "my.yaml:2:1: version: the key is there twice (first in line 1)"),
        ("server: {log: {format: json,\n  format: text}}", "my.yaml:2:3: server.log.format: the key is there twice"),
        ("version: !!python/object:os.system 1", "my.yaml:1:10: version: YAML tags and merge keys are not supported"),
        ("version: !!binary aGk=", "my.yaml:1:10: version: YAML tags and merge keys are not supported"),
        ("a: &x [*x]", "aliases expand it"),
        ("a: \x00", "not valid YAML"),
        ("? [a, b]\n: 1\n", "a key must be plain text"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested deeper than 40 levels"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_place(text: str, fault: str) -> None:
    assert any(found.startswith(fault) or fault in found for found in faults(text))


def test_an_alias_bomb_is_counted_and_never_built() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    assert faults(bomb) == ["my.yaml:1:1: aliases expand it to more than 100,000 nodes"]


def test_an_alias_that_saves_typing_is_fine() -> None:
    text = GOOD.replace("targets: [{provider: p, model: m}]", "targets: [&one {provider: p, model: m}]")
    text = text.replace("models: {", "models: {other: {targets: [{provider: p, model: m}]}, ").replace(
        "chat: {targets: [&one {provider: p, model: m}]", "chat: {targets: [{provider: p, model: m}]"
    )
    assert set(read(text).config.models) == {"chat", "other"}
    shared = "version: 1\nproviders: {p: &p {kind: demo}, q: *p}\n" + GOOD.split("\n", 2)[2]
    assert set(read(shared).config.providers) == {"p", "q"}


@pytest.mark.parametrize(
    ("value", "read_as"),
    [
        ("no", "no"),
        ("off", "off"),
        ("22:22", "22:22"),
        ("0123", "0123"),
        ("1e3", "1e3"),
        ("2024-08-06", "2024-08-06"),
        (".inf", ".inf"),
    ],
)
def test_what_yaml_1_1_would_twist_stays_text(value: str, read_as: str) -> None:
    assert read(GOOD.replace("model: m", f"model: {value}")).config.models["chat"].targets[0].model == read_as


def test_the_key_on_is_no_boolean() -> None:
    text = GOOD.replace("model: m}]", "model: m}], fallbacks: [{on: unavailable, model: large}]").replace(
        "models: {", "models: {large: {targets: [{provider: p, model: n}]}, "
    )
    assert read(text).config.models["chat"].fallbacks[0].on == "unavailable"


def test_a_number_where_text_belongs_asks_for_quotes() -> None:
    assert faults(GOOD.replace("model: m", "model: 123")) == [
        'my.yaml:3:48: models.chat.targets[0].model: expected text; put it in quotes, as in "on" or "123"'
    ]


def test_columns_count_characters_and_not_bytes() -> None:
    assert (
        faults("# é\n" + GOOD.replace("{p: {kind", "{'ü': {kind: demo}, p: {knd: x, kind"))
        == [
            "my.yaml:3:36: providers.p: unknown key 'knd' (did you mean 'kind'?)",
            "my.yaml:3:13: providers.ü: expected a name of letters, digits and . _ : / -, at most 128 characters",
        ][::-1]
    )


def test_a_setting_without_effect_is_accepted_with_a_warning() -> None:
    loaded = read(GOOD + "accounting: {unpriced: refuse}\n")
    assert [str(warning) for warning in loaded.warnings] == [
        "my.yaml:5:1: accounting: accepted, but this version does not act on it"
    ]


@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="$"), min_size=20, max_size=30)
)
def test_a_secret_of_the_environment_is_in_no_message(secret: str) -> None:
    text = GOOD + 'admin: {keys: [{name: a, key: "${KEY}", role: "${KEY}"}]}\nstate: {url: "${KEY}"}\n'
    assert secret not in "\n".join(faults(text, KEY=secret))


def test_a_file_is_read_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("\ufeff" + GOOD, encoding="utf-8")
    assert load(path, {"KEY": KEY}).config.version == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"a: \xff", "not UTF-8"), (b"#" * 1_000_001, "exceeds 1,000,000 bytes")],
)
def test_a_file_that_cannot_be_read_is_a_fault_like_any_other(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "my.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigFaults, match=message) as caught:
        load(path, {})
    assert str(caught.value).startswith(f"{path}:1:1: ")


INTERFACE = Path(__file__).with_name("whole_surface.yaml")


def test_the_whole_surface_of_the_format_is_accepted_with_warnings_for_what_has_no_effect() -> None:
    names = ("OPENAI_API_KEY", "TONGYI_API_KEY", "AZURE_OPENAI_API_KEY", "A1", "A2", "SEARCH_KEY", "FINANCE_KEY")
    environ = {name: f"sk-{name.lower()}-0123456789" for name in (*names, "WAYSTATION_ADMIN_KEY")}
    loaded = load(INTERFACE, environ)
    warned = {warning.path for warning in loaded.warnings}
    assert {"teams.search.quotas", "teams.search.limits", "models.chat.slo", "models.chat.strategy"} <= warned
    assert loaded.config.teams["search"].keys[1].digest == "sha256:" + "0" * 64
