"""Providers whose keys are in the environment: what the embedded default adds to itself. A config of the user's own
adds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class _Known:
    """A provider that can be found, and models of it that are worth naming."""

    name: str
    variables: tuple[str, ...]  #: the first that is set is its key
    settings: Mapping[str, object]
    models: tuple[str, ...]


_KNOWN: Final = (
    _Known(
        "openai",
        ("OPENAI_API_KEY",),
        {"kind": "openai"},
        ("gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-4.1-mini", "o4-mini", "text-embedding-3-small"),
    ),
    _Known(
        "anthropic",
        ("ANTHROPIC_API_KEY",),
        {"kind": "anthropic"},
        ("claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-1"),
    ),
    _Known(
        "deepseek",
        ("DEEPSEEK_API_KEY",),
        {"kind": "openai", "base_url": "https://api.deepseek.com/v1"},
        ("deepseek-chat", "deepseek-reasoner"),
    ),
    _Known(
        "qwen",
        ("TONGYI_API_KEY", "DASHSCOPE_API_KEY"),
        {"kind": "openai", "base_url": "https://dashscope.aliyuncs.com/compatible-mode/v1"},
        ("qwen-plus", "qwen-turbo", "qwen-max", "text-embedding-v4"),
    ),
)
_AZURE_API_VERSION: Final = "2024-10-21"
_AZURE_DEPLOYMENTS: Final = ("gpt-4o-mini", "gpt-4o")


@dataclass(frozen=True, slots=True)
class Detected:
    """What was found, as parts of a config."""

    providers: Mapping[str, object]
    models: Mapping[str, object]
    found: Mapping[str, str]  #: provider -> the variable that it was found by


def detect(environ: Mapping[str, str]) -> Detected:
    """The providers that these variables open. Two that offer a model of the same name share it, in the order found."""
    environ = {name: value.strip() for name, value in environ.items()}  # of a key's file, often its last line break
    providers: dict[str, object] = {}
    targets: dict[str, list[object]] = {}
    found: dict[str, str] = {}
    for known in _KNOWN:
        variable = next((name for name in known.variables if environ.get(name)), None)
        if variable is not None:
            found[known.name] = variable
            providers[known.name] = {**known.settings, "api_key": environ[variable]}
            for model in known.models:
                targets.setdefault(model, []).append({"provider": known.name, "model": model})
    if environ.get("AZURE_OPENAI_API_KEY") and environ.get("AZURE_OPENAI_ENDPOINT"):
        found["azure"] = "AZURE_OPENAI_API_KEY"
        providers["azure"] = {
            "kind": "azure",
            "base_url": environ["AZURE_OPENAI_ENDPOINT"].rstrip("/"),
            "api_version": environ.get("AZURE_OPENAI_API_VERSION") or _AZURE_API_VERSION,
            "api_key": environ["AZURE_OPENAI_API_KEY"],
        }
        deployment = environ.get("AZURE_OPENAI_DEPLOYMENT")
        for model in (deployment,) if deployment else _AZURE_DEPLOYMENTS:
            targets.setdefault(model, []).append({"provider": "azure", "model": model})
    if environ.get("LOCAL_MODEL_ENDPOINT"):
        found["local"] = "LOCAL_MODEL_ENDPOINT"
        providers["local"] = {"kind": "openai", "base_url": environ["LOCAL_MODEL_ENDPOINT"]}
        targets.setdefault("local", []).append(
            {"provider": "local", "model": environ.get("LOCAL_MODEL_NAME") or "local"}
        )
    return Detected(providers, {model: {"targets": at} for model, at in targets.items()}, found)


def merge(data: Mapping[str, object], added: Mapping[str, object]) -> dict[str, object]:
    """The config with what was found. A real model takes its name away from whatever had it as an alias."""
    merged = dict(data)
    for section, extra in added.items():
        present = merged.get(section)
        if not isinstance(present, dict) or not isinstance(extra, dict):
            continue
        kept = {name: _without_aliases(entry, extra) for name, entry in present.items()}
        merged[section] = {**kept, **extra}
    return merged


def _without_aliases(entry: object, taken: Mapping[str, object]) -> object:
    if not isinstance(entry, dict) or not isinstance(entry.get("aliases"), list):
        return entry
    return {**entry, "aliases": [alias for alias in entry["aliases"] if alias not in taken]}
