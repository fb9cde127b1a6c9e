"""The whole config as one frozen value. Each section has its file; here they come together."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from proxy.config.faults import Finding, Path, display_unknown_key, nearest, suggest
from proxy.config.schema_fields import Name, Section
from proxy.config.schema_models import ModelConfig
from proxy.config.schema_providers import ProviderConfig
from proxy.config.schema_server import AccountingConfig, CacheConfig, NotifyConfig, ServerConfig, StateConfig
from proxy.config.schema_teams import AdminConfig, TeamConfig

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = r"\$\{"


class Config(Section):
    """The config of one gateway."""

    version: Literal[1] = Field(description="Version of this format.")
    server: ServerConfig = Field(ServerConfig(), description="The process itself.")
    state: StateConfig = Field(StateConfig(), description="Where counters, budgets and the ledger live.")
    accounting: AccountingConfig = Field(AccountingConfig(), description="How calls are counted.")
    providers: dict[Name, ProviderConfig] = Field({}, description="Whom the gateway may ask.")
    models: dict[Name, ModelConfig] = Field({}, description="What clients may name.")
    cache: CacheConfig = Field(CacheConfig(), description="What all caches share.")
    teams: dict[Name, TeamConfig] = Field({}, description="Who may call.")
    admin: AdminConfig = Field(AdminConfig(), description="Who may look and change.")
    notify: NotifyConfig = Field(NotifyConfig(), description="Who is told of what goes wrong.")


def validate(data: object) -> Config | list[Finding]:
    """The config, or everything that is wrong with it."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        schema = Config.model_json_schema(by_alias=True)
        items = error.errors(include_url=False, include_input=False)
        return [_finding(item, data, schema) for item in items if not _is_echo(item, items)]


def masked(config: Config) -> bytes:
    """The config as canonical JSON, secrets left out: what two replicas must agree on."""
    return json.dumps(config.model_dump(mode="json", by_alias=True), sort_keys=True).encode()


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors."""
    schema = _for_editors(Config.model_json_schema(by_alias=True))
    return {"$schema": _DIALECT, "title": "Waystation config", **{k: v for k, v in schema.items() if k != "title"}}


def _for_editors(node: Any) -> Any:
    """Without what editors would show for no use, and with `${VAR}` wherever there are rules for a scalar."""
    if isinstance(node, list):
        return [_for_editors(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {
        key: _for_editors(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and isinstance(value, dict))
    }
    if kept.get("type") in ("integer", "number", "boolean"):
        kept |= {"type": [kept["type"], "string"], "pattern": _REFERENCE}
    elif isinstance(kept.get("pattern"), str):
        kept["pattern"] += f"|{_REFERENCE}"
    return kept


def _is_echo(item: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> bool:
    """A list counts as too short too when its entries are faulty, each of which is reported for itself."""
    path = item["loc"]
    return item["type"] == "too_short" and any(
        len(other["loc"]) > len(path) and other["loc"][: len(path)] == path for other in items
    )


def _finding(item: Mapping[str, Any], data: object, schema: Mapping[str, Any]) -> Finding:
    path = item["loc"]
    if item["type"] == "extra_forbidden":
        shown = display_unknown_key(str(path[-1]))
        hint = suggest(shown.removesuffix("…"), _known_keys(schema, path[:-1]))
        return Finding(path, f"unknown key '{shown}'", hint, at_key=True, named=path[:-1])
    if item["type"] == "missing":
        return Finding(path[:-1], f"'{path[-1]}' is required", at_key=True)
    is_name = path[-1:] == ("[key]",)
    path = path[:-1] if is_name else path
    message, hint = _explain(item, _get(data, path))
    return Finding(path, message, hint, at_key=is_name)


def _explain(item: Mapping[str, Any], value: object) -> tuple[str, str]:
    """pydantic's message in the words of the file, and a hint. Holds nothing of the value."""
    context = item.get("ctx", {})
    hint = "nothing stands there: remove the key, or fill it" if value is None else ""
    match item["type"]:
        case "value_error":
            return str(context["error"]), hint
        case "model_type" | "dict_type":
            return "expected a mapping", hint
        case "tuple_type":
            return "expected a list", hint
        case "too_short":
            return "expected at least one entry", ""
        case "literal_error":
            allowed = re.findall(r"\w+", context["expected"].replace(" or ", " "))
            near = nearest(value, allowed) if isinstance(value, str) else ""
            return f"expected {', '.join(allowed[:-1])}{' or ' if allowed[1:] else ''}{allowed[-1]}", hint or near
        case "greater_than_equal":
            return f"expected at least {context['ge']:,}", ""
        case "greater_than":
            return f"expected more than {context['gt']:,}", ""
        case "less_than_equal":
            return f"expected at most {context['le']:,}", ""
    raise AssertionError(f"there are no words for pydantic's {item['type']}")


def _get(data: object, path: Path) -> object:
    """What stands at the path; None if nothing does."""
    for step in path:
        found = data if isinstance(data, dict) else dict(enumerate(data)) if isinstance(data, list) else {}
        data = found.get(step)
    return data


def _known_keys(schema: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """The keys that the mapping at this path may have."""
    node = schema
    for step in path:
        if isinstance(step, int):
            below = node.get("items", {})
        else:
            below = node.get("properties", {}).get(step) or node.get("additionalProperties") or {}
        options = [_resolve(schema, option) for option in below.get("anyOf", [below])]
        node = next(
            (option for option in options if option.keys() & {"properties", "items", "additionalProperties"}), {}
        )
    return tuple(node.get("properties", ()))


def _resolve(schema: Mapping[str, Any], option: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = option.get("$ref")
    return option if reference is None else schema["$defs"][reference.rpartition("/")[2]]
