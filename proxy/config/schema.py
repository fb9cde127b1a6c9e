"""The whole config as one frozen value. Each section has its file; here they come together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from proxy.config.schema_fields import Name, Section
from proxy.config.schema_models import ModelConfig
from proxy.config.schema_providers import ProviderConfig
from proxy.config.schema_server import AccountingConfig, CacheConfig, NotifyConfig, ServerConfig, StateConfig
from proxy.config.schema_teams import AdminConfig, TeamConfig

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


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


@dataclass(frozen=True, slots=True)
class SchemaFault:
    """Something in the data that the schema does not allow. Never holds the value."""

    path: tuple[str | int, ...]
    kind: Literal["unknown", "missing", "key", "wrong"]  #: key: it is the name itself that is wrong
    message: str
    known: tuple[str, ...] = ()  #: keys that are known where an unknown one was found


def validate(data: object) -> Config | list[SchemaFault]:
    """The config, or everything that is wrong with it."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        return list(_faults(error))


def masked(config: Config) -> bytes:
    """The config as canonical JSON, secrets left out: what two replicas must agree on."""
    return json.dumps(config.model_dump(mode="json", by_alias=True), sort_keys=True).encode()


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors."""
    schema = Config.model_json_schema(by_alias=True)
    return {"$schema": _DIALECT, "title": "Waystation config", **{k: v for k, v in schema.items() if k != "title"}}


def _faults(error: ValidationError) -> Iterator[SchemaFault]:
    schema = Config.model_json_schema(by_alias=True)
    items = error.errors(include_url=False, include_context=False, include_input=False)
    for item in items:
        path = tuple(step for step in item["loc"] if step != "[key]")
        kind = item["type"]
        if kind == "extra_forbidden":
            yield SchemaFault(path, "unknown", "unknown key", _known_keys(schema, path[:-1]))
        elif kind == "too_short":
            # A list also counts as too short when its entries are faulty, each of which is reported for itself.
            if not any(other["loc"][: len(path)] == path for other in items if other is not item):
                yield SchemaFault(path, "wrong", "expected at least one entry")
        elif kind == "missing":
            yield SchemaFault(path, "missing", f"'{path[-1]}' is required")
        else:
            kind_of_fault: Literal["key", "wrong"] = "key" if item["loc"][-1:] == ("[key]",) else "wrong"
            yield SchemaFault(path, kind_of_fault, item["msg"].removeprefix("Value error, "))


def _known_keys(schema: Mapping[str, Any], path: tuple[str | int, ...]) -> tuple[str, ...]:
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
