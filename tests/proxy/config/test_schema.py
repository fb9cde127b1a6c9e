import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from proxy.config.faults import Finding
from proxy.config.schema import Config, json_schema, masked, validate
from proxy.config.verify import verify

ROOT = Path(__file__).parents[3]
MINIMAL: dict[str, Any] = {
    "version": 1,
    "providers": {"p": {"kind": "demo"}},
    "models": {"chat": {"targets": [{"provider": "p", "model": "m"}]}},
    "teams": {"t": {"keys": [{"name": "k", "key": "sk-way-0123456789"}]}},
}
WHOLE = yaml.load((ROOT / "tests/proxy/config/whole_surface.yaml").read_text(), yaml.BaseLoader)


def faults(data: object) -> list[Finding]:
    found = validate(data)
    assert isinstance(found, list)
    return found


def test_a_minimal_config_is_filled_with_defaults() -> None:
    config = validate(MINIMAL)
    assert isinstance(config, Config)
    assert str(config.server.listen) == "127.0.0.1:8080"
    assert config.server.max_body_bytes == 20_000_000
    assert config.models["chat"].strategy == "round_robin"
    assert config.models["chat"].timeouts.total_s == 600


def test_unknown_keys_come_with_those_that_are_known_there() -> None:
    data = json.loads(json.dumps(MINIMAL))
    data["models"]["chat"]["targets"][0]["modle"] = 1
    data["teams"]["t"]["keys"][0]["limits"] = {"rpmm": 1}
    data["sever"] = {}
    data["models"]["chat"]["cache"] = {"exact": {"tll": "1h"}}
    data["models"]["chat"]["fallbacks"] = [{"on": "unavailable", "model": "chat", "stat": 1}]
    data["providers"]["p"]["faults"] = {"eror_rate": "1%"}
    hints = {fault.path: (fault.message, fault.hint) for fault in faults(data)}
    assert hints == {
        ("sever",): ("unknown key 'sever'", "did you mean 'server'?"),
        ("models", "chat", "targets", 0, "modle"): ("unknown key 'modle'", "did you mean 'model'?"),
        ("models", "chat", "cache", "exact", "tll"): ("unknown key 'tll'", "did you mean 'ttl'?"),
        ("models", "chat", "fallbacks", 0, "stat"): ("unknown key 'stat'", "did you mean 'status'?"),
        ("providers", "p", "faults", "eror_rate"): ("unknown key 'eror_rate'", "did you mean 'error_rate'?"),
        ("teams", "t", "keys", 0, "limits", "rpmm"): ("unknown key 'rpmm'", "did you mean 'rpm'?"),
    }


def test_the_names_of_the_code_are_no_settings() -> None:
    assert [fault.path for fault in faults({**MINIMAL, "server": {"drain_s": "5s"}})] == [("server", "drain_s")]


@pytest.mark.parametrize(
    ("changed", "path", "message", "hint"),
    [
        ({"version": 2}, ("version",), "expected 1", ""),
        ({"server": []}, ("server",), "expected a mapping", ""),
        ({"models": None}, ("models",), "expected a mapping", "nothing stands there: remove the key, or fill it"),
        ({"teams": {"t": {"keys": {}}}}, ("teams", "t", "keys"), "expected a list", ""),
        (
            {"server": {"log": {"format": "jsn"}}},
            ("server", "log", "format"),
            "expected auto, json or text",
            "did you mean 'json'?",
        ),
        (
            {"models": {"m": {"targets": []}}},
            ("models", "m", "targets"),
            "expected at least one entry",
            "",
        ),
        (
            {"models": {"m": {"targets": [{"provider": "p", "model": "m", "capacity": {"concurrency": "x"}}]}}},
            ("models", "m", "targets", 0, "capacity", "concurrency"),
            "expected auto, or a count such as 8",
            "",
        ),
        ({"teams": {"t": {"priority": 10}}}, ("teams", "t", "priority"), "expected at most 9", ""),
        ({"server": {"workers": 0}}, ("server", "workers"), "expected at least 1", ""),
        (
            {"teams": {"t": {"quotas": [{"usd": 0, "per": "day"}]}}},
            ("teams", "t", "quotas", 0, "usd"),
            "expected more than 0",
            "",
        ),
    ],
)
def test_a_fault_is_told_once_in_the_words_of_the_file(
    changed: dict[str, Any], path: tuple[object, ...], message: str, hint: str
) -> None:
    assert [(f.path, f.message, f.hint) for f in faults({**MINIMAL, **changed})] == [(path, message, hint)]


def test_a_bad_name_is_a_fault_of_the_key() -> None:
    [fault] = faults({**MINIMAL, "teams": {"a team": {}}})
    assert (fault.path, fault.at_key) == (("teams", "a team"), True)


def test_a_missing_setting_is_a_fault_of_what_lacks_it() -> None:
    [fault] = faults({**MINIMAL, "models": {"chat": {"targets": [{"provider": "p"}]}}})
    assert (fault.path, fault.message) == (("models", "chat", "targets", 0), "'model' is required")


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates()
DATA = st.recursive(PLAIN, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below))


@settings(max_examples=100)
@given(data=st.data())
def test_there_are_words_for_whatever_stands_anywhere(data: st.DataObject) -> None:
    config = json.loads(json.dumps(WHOLE))
    where: Any = config
    for _ in range(data.draw(st.integers(0, 6))):
        step = data.draw(st.sampled_from(sorted(where) if isinstance(where, dict) else range(len(where))))
        if not isinstance(where[step], dict | list) or not where[step]:
            break
        where = where[step]
    step = data.draw(st.sampled_from(sorted(where) if isinstance(where, dict) else range(len(where))))
    where[step] = data.draw(DATA)
    found = validate(config)
    assert isinstance(found, Config) or all(finding.message for finding in found)
    assert all(finding.message for finding in verify(config))


@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=40).map(lambda t: "~" + t)
)
def test_no_fault_and_no_dump_holds_a_secret(secret: str) -> None:
    data = json.loads(json.dumps(MINIMAL))
    data["teams"]["t"]["keys"] = [{"name": "k", "key": secret, "digest": secret}]
    data["providers"]["p"] = {"kind": "openai", "api_key": secret, "api_keys": [secret], "base_url": secret}
    assert secret not in " ".join(f"{fault.message}{fault.hint}" for fault in faults(data))
    good = json.loads(json.dumps(MINIMAL))
    good["teams"]["t"]["keys"] = [{"name": "k", "key": secret}]
    good["admin"] = {"keys": [{"name": "k", "key": secret, "role": "admin"}]}
    good["providers"]["p"] = {"kind": "openai", "api_keys": [secret], "headers": {"x-key": secret}}
    good["state"] = {"url": f"redis://:{quote(secret, safe='')}@host/0"}
    good["notify"] = {"webhook": f"https://host/{quote(secret, safe='')}"}
    config = validate(good)
    assert isinstance(config, Config)
    for shown in (masked(config).decode(), repr(config), str(config)):
        assert secret not in shown
        assert quote(secret, safe="") not in shown


def all_sections() -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    waiting = list(BaseModel.__subclasses__())
    while waiting:
        section = waiting.pop()
        if section.__module__.startswith("proxy.config"):
            found.append(section)
        waiting += section.__subclasses__()
    return found


def test_every_setting_is_documented_in_one_line() -> None:
    fields = [(section, name, field) for section in all_sections() for name, field in section.model_fields.items()]
    assert len(fields) > 100
    undocumented = [f"{section.__name__}.{name}" for section, name, field in fields if not field.description]
    assert undocumented == []


def test_the_published_schema_is_current() -> None:
    published = (ROOT / "docs" / "config.schema.json").read_text()
    current = json.dumps(json_schema(), indent=2) + "\n"
    assert published == current, "run: waystation check --schema > docs/config.schema.json"


class Yaml12(yaml.SafeLoader):
    """Reads as an editor does: `on` is a word, and a day is text."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":timestamp", ":bool"))]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


Yaml12.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


@pytest.mark.parametrize("name", ["config.yaml", "tests/proxy/config/whole_surface.yaml"])
def test_a_good_config_fits_the_published_schema_with_its_references_and_without(name: str) -> None:
    schema = json.loads((ROOT / "docs" / "config.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    text = (ROOT / name).read_text()
    assert list(validator.iter_errors(yaml.load(text, Yaml12))) == []
    replaced = re.sub(r"\$\{\w+(?::-([^}]*))?\}", lambda found: found[1] or "x" * 20, text)
    assert list(validator.iter_errors(yaml.load(replaced, Yaml12))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"sever": {}},
        {"server": {"drain": 60}},
        {"server": {"workers": "many"}},
        {"models": {"m": {"targets": []}}},
        {"providers": {"p": {"kind": "opnai"}}},
    ],
)
def test_the_published_schema_finds_faults_too(wrong: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    assert list(validator.iter_errors({"version": 1})) == []
    assert len(list(validator.iter_errors({"version": 1, **wrong}))) == 1


def test_every_default_of_the_published_schema_is_what_a_file_could_say() -> None:
    schema = json_schema()
    sections = [schema, *schema["$defs"].values()]
    fields = [setting for section in sections for setting in section["properties"].values() if "default" in setting]
    assert len(fields) > 50
    for setting in fields:
        assert jsonschema.Draft202012Validator({**setting, "$defs": schema["$defs"]}).is_valid(setting["default"])


def below(node: Any, definitions: dict[str, Any]) -> set[str]:
    """The names of all settings in a part of the schema."""
    if isinstance(node, list):
        return {name for item in node for name in below(item, definitions)}
    if not isinstance(node, dict):
        return set()
    if "$ref" in node:
        return below(definitions[node["$ref"].rpartition("/")[2]], definitions)
    parts = [
        *node.get("properties", {}).values(),
        *(node.get(key) for key in ("anyOf", "items", "additionalProperties")),
    ]
    return {*node.get("properties", {}), *(name for part in parts for name in below(part, definitions))}


def test_every_setting_is_in_the_chapter_of_its_section() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    chapters = dict(re.findall(r"^### (\w+)\n(.*?)(?=^#{2,3} )", text, re.MULTILINE | re.DOTALL))
    chapters["admin"] += chapters["teams"]  # its keys are described there
    schema = json_schema()
    sections = {name: below(part, schema["$defs"]) for name, part in schema["properties"].items()}
    assert len(sections["models"]) > 40
    for name, expected in sections.items():
        quoted = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", chapters.get(name, "")))))
        assert expected - quoted == set(), name
    assert sections.keys() - chapters.keys() == {"version"}
