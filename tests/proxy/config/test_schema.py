import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from proxy.config.schema import Config, SchemaFault, json_schema, masked, validate
from proxy.config.schema_models import ModelConfig, TimeoutsConfig
from proxy.config.schema_providers import FaultsConfig, ProviderConfig
from proxy.config.schema_server import ServerConfig
from proxy.config.schema_teams import KeyConfig, TeamConfig

ROOT = Path(__file__).parents[3]
MINIMAL: dict[str, Any] = {
    "version": 1,
    "providers": {"p": {"kind": "demo"}},
    "models": {"chat": {"targets": [{"provider": "p", "model": "m"}]}},
    "teams": {"t": {"keys": [{"name": "k", "key": "sk-way-0123456789"}]}},
}


def faults(data: object) -> list[SchemaFault]:
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
    known = {fault.path: fault.known for fault in faults(data) if fault.kind == "unknown"}
    assert "server" in known[("sever",)]
    assert "model" in known[("models", "chat", "targets", 0, "modle")]
    assert "rpm" in known[("teams", "t", "keys", 0, "limits", "rpmm")]


@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=40).map(lambda t: "~" + t)
)
def test_no_fault_and_no_dump_holds_a_secret(secret: str) -> None:
    data = json.loads(json.dumps(MINIMAL))
    data["teams"]["t"]["keys"] = [{"name": "k", "key": secret, "digest": secret}]
    data["providers"]["p"] = {"kind": "openai", "api_key": secret, "api_keys": [secret], "base_url": secret}
    assert secret not in " ".join(fault.message for fault in faults(data))
    good = json.loads(json.dumps(MINIMAL))
    good["teams"]["t"]["keys"] = [{"name": "k", "key": secret}]
    config = validate(good)
    assert isinstance(config, Config)
    # A short secret may occur in a dump by chance, as part of some default.
    assert f'"{secret}"' not in masked(config).decode()
    assert f"'{secret}'" not in repr(config)


def models_of(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    if model in seen:
        return
    seen.add(model)
    yield model
    for field in model.model_fields.values():
        for part in re.findall(r"proxy\.config\.\w+\.(\w+)", str(field.annotation)):
            for known in all_sections():
                if known.__name__ == part:
                    yield from models_of(known, seen)


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
    settings = [
        (section, name, field) for section in models_of(Config, set()) for name, field in section.model_fields.items()
    ]
    assert len(settings) > 100
    undocumented = [f"{section.__name__}.{name}" for section, name, field in settings if not field.description]
    assert undocumented == []


def test_the_published_schema_is_current() -> None:
    published = (ROOT / "docs" / "config.schema.json").read_text()
    assert json.loads(published) == json_schema(), "run: waystation check --schema > docs/config.schema.json"


def test_the_embedded_config_fits_the_published_schema() -> None:
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / "config.yaml").read_text())
    # PyYAML itself speaks YAML 1.1, where the key `on` is true.
    text = text.replace("${WAYSTATION_KEY}", "x" * 20).replace("{on:", '{"on":')
    schema = json.loads((ROOT / "docs" / "config.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(text))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({"version": 1, "sever": {}})


def test_every_setting_that_has_an_effect_is_in_the_documentation() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    shown = (Config, ServerConfig, ProviderConfig, FaultsConfig, ModelConfig, TimeoutsConfig, TeamConfig, KeyConfig)
    names = {field.alias or name for section in shown for name, field in section.model_fields.items()}
    assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set()
