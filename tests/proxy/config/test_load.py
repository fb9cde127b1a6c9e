import re
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from proxy.config.faults import ConfigFaults, Fault
from proxy.config.load import Loaded, load, load_text

GOOD = """\
version: 1
providers: {p: {kind: demo}}
models: {chat: {targets: [{provider: p, model: m}]}}
teams: {t: {keys: [{name: k, key: "${KEY}"}]}}
"""
KEY = "sk-way-0123456789"
INTERFACE = Path(__file__).with_name("whole_surface.yaml")
_NAMES = ("OPENAI_API_KEY", "TONGYI_API_KEY", "AZURE_OPENAI_API_KEY", "A1", "A2", "SEARCH_KEY", "FINANCE_KEY")
WHOLE_ENVIRON = {name: f"sk-{name.lower()}-0123456789" for name in (*_NAMES, "WAYSTATION_ADMIN_KEY")}


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
    assert read(GOOD + "server: {max_body: 20MB}\n").config_hash == base  # the default, spelled out
    assert read(GOOD + "server: {max_body: 21MB}\n").config_hash != base
    header = GOOD.replace("kind: demo", 'kind: demo, headers: {x-a: "${KEY}"}')
    assert read(header).config_hash not in (base, read(header.replace("x-a", "x-b")).config_hash)
    assert read(header).config_hash == read(header, KEY="another-key-0123456").config_hash


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
        "my.yaml:1:10: version: expected 1",
        "my.yaml:3:3: server: unknown key 'lisen' (did you mean 'listen'?)",
        "my.yaml:4:10: server.drain: expected a duration such as 250ms, 2s, 5m, 1h or 30d; a number alone has no unit",
        "my.yaml:6:19: providers.p: unknown key 'api_kye' (did you mean 'api_key'?)",
        "my.yaml:9:15: models.chat.strategy: expected cheapest, fastest, reliable, balanced, round_robin or weighted "
        "(did you mean 'cheapest'?)",
        "my.yaml:11:20: models.chat.targets[0].provider: there is no such provider (known: p)",
        "my.yaml:12:9: models.chat.targets[1]: 'model' is required",
        "my.yaml:15:14: teams.t.models[0]: there is no such model (did you mean 'chat'?)",
        "my.yaml:17:24: teams.t.keys[0].key: the environment variable NONE is not set "
        "(set it, or give a default: ${NONE:-default})",
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
        ("version: !!python/object:os.system 1", "my.yaml:1:10: version: YAML tags (!) are not supported"),
        ("version: !!binary aGk=", "my.yaml:1:10: version: YAML tags (!) are not supported"),
        ("version: !!str 1", "my.yaml:1:10: version: expected 1"),
        ("version: 1\na: &x [*x]", "my.yaml:2:1: more than 100,000 values or 40 levels, with aliases (*) expanded"),
        ("version: 1\n# é\n\ta: \x00", "my.yaml:3:5: not valid YAML: a character that is not allowed"),
        ("version: 1\n? [a, b]\n: 1\n", "my.yaml:2:3: a key must be plain text"),
        ("server: {!!binary a: 1}", "my.yaml:1:10: server: YAML tags (!) are not supported"),
        ("a: &a {b: 1}\nserver:\n  <<: *a\n", "my.yaml:3:3: server: merge keys (<<) are not supported"),
        ("a: " + "[" * 5000 + "]" * 5000, "my.yaml:1:43: not valid YAML: it is nested deeper than 40 levels"),
        (
            "".join(f"{' ' * n}a:\n" for n in range(5000)),
            "my.yaml:40:40: not valid YAML: it is nested deeper than 40 levels",
        ),
        ("version: 1\n---\nversion: 1\n", "my.yaml:2:1: not valid YAML: there are several documents in it"),
        ('a: "\\UFFFFFFFF"', "my.yaml:1:7: not valid YAML: an escape that names no character"),
        ('version: "\\ud800"', "my.yaml:1:10: version: it holds half a character"),
        ("a: *sk-secret", "my.yaml:1:4: not valid YAML: found undefined alias (text that begins with * needs quotes)"),
        ("a: {b: ${KEY}}", "my.yaml:1:9: not valid YAML: expected ',' or '}', but got '{' (within { } and [ ] a ref"),
        ('"[key]": 1', "my.yaml:1:1: unknown key '…'"),
        ("on: 1", "my.yaml:1:1: unknown key 'on'"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_place(text: str, fault: str) -> None:
    assert [found for found in faults(text) if found.startswith(fault)] != []


def test_an_alias_bomb_is_counted_and_never_built() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    assert faults(bomb) == ["my.yaml:5:1: more than 100,000 values or 40 levels, with aliases (*) expanded"]


def test_a_tower_of_aliases_is_refused_before_it_is_climbed() -> None:
    tower = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 3000))
    assert faults(tower) == ["my.yaml:40:1: more than 100,000 values or 40 levels, with aliases (*) expanded"]


def test_thirty_faults_are_thirty_lines_in_the_order_of_the_file() -> None:
    keys = [f'    - {{name: k{n}, role: viewer, key: "${{MISSING_{n}}}"}}' for n in range(30)]
    found = faults("\n".join([f"{GOOD}admin:", "  keys:", *keys]))
    assert [line.split(": ")[0] for line in found] == [f"my.yaml:{n + 7}:{36 + len(str(n))}" for n in range(30)]
    assert all(f"the environment variable MISSING_{n} is not set" in line for n, line in enumerate(found))


def test_a_fault_is_not_followed_by_its_own_echoes() -> None:
    text = GOOD.replace("provider: p", 'provider: "${NONE}"').replace("kind: demo", "kind: !!binary ZGVtbw==")
    assert [line.split(": ", 2)[2] for line in faults(text)] == [
        "YAML tags (!) are not supported",
        "the environment variable NONE is not set (set it, or give a default: ${NONE:-default})",
    ]
    two = GOOD.replace('key: "${KEY}"}', 'key: "${NO}"}, {name: l, key: "${NO}"}')
    assert len(faults(two)) == 2


def test_a_tagged_section_is_read_all_the_same() -> None:
    assert faults(GOOD.replace("models: {", "models: !mine {")) == [
        "my.yaml:3:9: models: YAML tags (!) are not supported"
    ]


@pytest.mark.parametrize(("said", "meant"), [("${N:-2k}", 2_000), ("2000", 2_000), ("${N}", 5_000)])
def test_a_number_may_come_from_the_environment(said: str, meant: int) -> None:
    environ = {"N": "5000"} if said == "${N}" else {}
    config = read(f'{GOOD}server: {{max_connections: "{said}"}}\n', **environ).config
    assert config.server.max_connections == meant


def test_a_variable_that_is_no_unicode_is_a_fault_of_its_place() -> None:
    assert faults(GOOD, KEY="\udcff" * 20) == [
        "my.yaml:4:35: teams.t.keys[0].key: it holds half a character (expected valid Unicode)"
    ]


def test_a_key_with_no_space_after_its_colon_does_not_show_its_value() -> None:
    text = GOOD.replace("kind: demo", "kind: openai, api_key:sk-secret-123")
    assert faults(text) == ["my.yaml:2:31: providers.p: unknown key 'api_key…' (did you mean 'api_key'?)"]


def test_columns_survive_tabs_and_wide_characters() -> None:
    text = GOOD.replace("{kind: demo", '{api_version: "\t😀\t", knd: 1, kind: demo')
    assert faults(text)[-1] == "my.yaml:2:37: providers.p: unknown key 'knd' (did you mean 'kind'?)"


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


def test_the_documented_example_is_answered_as_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
    [example] = re.findall(r"```yaml\n(.*?)```\n\nis answered by\n", text, re.DOTALL)
    [answer] = re.findall(r"is answered by\n\n```\n(.*?)```", text, re.DOTALL)
    assert faults(example) == answer.splitlines()


def test_a_setting_without_effect_is_accepted_with_a_warning() -> None:
    loaded = read(GOOD + "server: {trusted_proxies: [10.0.0.1]}\n")
    assert [str(warning) for warning in loaded.warnings] == [
        "my.yaml:5:10: server.trusted_proxies: accepted, but this version does not act on it"
    ]


@given(st.text(alphabet="ab:1-[]{}&*!|>'\"%@`,?#~<$\\\n\t \x00\u2028é😀", max_size=60))
@example("%TAG ! tag:x:\n--- !y 1")
@example("%YAML 9.9\n---\na: 1")
@example("!!%zz a: 1")
@example("&a &b a: 1")
@example("a: |99\n x")
def test_no_text_breaks_the_reading(text: str) -> None:
    for whole in (text, GOOD + text):
        found: tuple[Fault, ...] = ()
        try:
            found = read(whole).warnings
        except ConfigFaults as error:
            found = error.faults
        assert all(fault.line >= 1 and fault.column >= 1 and fault.message for fault in found)


@given(st.data())
def test_what_a_variable_holds_is_said_nowhere_wherever_it_stands(data: st.DataObject) -> None:
    lines = INTERFACE.read_text().splitlines()
    line = data.draw(st.sampled_from([n for n, text in enumerate(lines) if ": " in text and not text.startswith("#")]))
    values = list(re.finditer(r"(?<=: )[\w.%-]+(?=[,}\]]|$)|\"[^\"]*\"", lines[line]))
    assume(values)
    value = data.draw(st.sampled_from(values))
    lines[line] = f'{lines[line][: value.start()]}"${{LEAK}}"{lines[line][value.end() :]}'
    leak = data.draw(st.sampled_from(["zq7-secret-zq7-secret", "zq7", "7.5", "http://zq7:zq7@h/", "zq7 zq7"]))
    said = ""
    try:
        loaded = load_text("\n".join(lines), {**WHOLE_ENVIRON, "LEAK": leak}, "my.yaml")
        said = "".join(map(str, loaded.warnings))
    except ConfigFaults as error:
        said = str(error)
    assert "zq7" not in said


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
    [
        (None, "1:1: the file cannot be read: No such file"),
        (b"a: 1\n\nb: \xff", r"3:1: the file is not UTF-8 \(byte 9\)"),
        ("a: 1".encode("utf-16"), "1:1: the file is not UTF-8"),
        (b"#" * 1_000_001, "1:1: the file exceeds 1,000,000 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_fault_like_any_other(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "my.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigFaults, match=message) as caught:
        load(path, {})
    assert str(caught.value).startswith(f"{path}:")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigFaults, match="cannot be read"):
        load(tmp_path, {})


def test_the_whole_surface_of_the_format_is_accepted_with_warnings_for_what_has_no_effect() -> None:
    loaded = load(INTERFACE, WHOLE_ENVIRON)
    warned = {warning.path for warning in loaded.warnings}
    assert not {"models.chat.cache.semantic", "models.chat.cache.exact", "models.chat.fallbacks[2].cache"} & warned
    assert "models.chat.slo.success" not in warned
    assert loaded.config.models["chat"].slo is not None
    assert loaded.config.models["chat"].slo.success == 0.999
    assert loaded.config.teams["search"].keys[1].digest == "sha256:" + "0" * 64
