"""The deployment files as data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from proxy.config import Config, Loaded, load
from tests.house import tree

COMPOSE: Final = "deploy/compose/compose.yaml"
COMPOSE_CONFIG: Final = "deploy/compose/gateway/waystation.yaml"
KUBERNETES: Final = "deploy/kubernetes"
KUBERNETES_CONFIG: Final = f"{KUBERNETES}/waystation.yaml"
#: What closing takes beyond them: idle connections (1 s), last words (4 s), bringing in the books of a slow state.
_CLOSING_S: Final = 15.0
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def data(name: str) -> Any:
    """The one document of a YAML file."""
    return yaml.safe_load(tree.text(name))


def manifests(name: str) -> list[Any]:
    """The documents of a YAML file."""
    return list(yaml.safe_load_all(tree.text(name)))


def below(folder: str) -> tuple[str, ...]:
    """The files below a folder."""
    return tuple(name for name in tree.files() if name.startswith(f"{folder}/"))


def texts(value: Any) -> Iterator[str]:
    """Every text in parsed YAML, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def variables(name: str) -> set[str]:
    """The environment variables that a YAML file refers to, its comments left out."""
    return {found for text in texts(data(name)) for found in re.findall(r"(?<!\$)\$\{(\w+)", text)}


def assigned(name: str) -> dict[str, str]:
    """What a file of NAME=value lines sets."""
    return dict(re.findall(r"^([A-Z]\w*)=(.*)$", tree.text(name), re.MULTILINE))


def seconds(text: str) -> float:
    """`150s`, `2m` as a number."""
    number, unit = re.fullmatch(r"([\d.]+)(ms|s|m|h)", text).groups()  # type: ignore[union-attr]
    return float(number) * _SECONDS[unit]


def size(text: str) -> int:
    """`24m`, `256k` (of nginx), `768Mi` (of Kubernetes) in bytes."""
    number, unit = re.fullmatch(r"(\d+)([kmgKMG]?)i?", text).groups()  # type: ignore[union-attr]
    return int(number) * {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}[unit.lower()]


def loaded(name: str) -> Loaded:
    """A gateway's config, with a value of its own for each variable. Raises ConfigFaults."""
    environ = {
        variable: f"redis://:password@{variable.lower()}:6379/0"
        if variable.endswith("_URL")
        else f"sk-{variable}-0123456789"
        for variable in variables(name)
    }
    return load(Path(tree.ROOT, name), environ)


def config(name: str) -> Config:
    """The same as the gateway sees it."""
    return loaded(name).config


def least_grace_s(name: str) -> float:
    """How long a gateway with this config must be given between SIGTERM and SIGKILL, in seconds."""
    server = config(name).server
    return server.drain_delay_s + server.drain_s + _CLOSING_S
