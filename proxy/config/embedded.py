"""The embedded default: the config that the gateway runs on when it is given none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from proxy.config.detect import Detected, detect
from proxy.config.load import Loaded, load
from proxy.config.verify_prices import HasPrice


def default_config_path() -> Path:
    """The file: beside this package in an installation, at the root of a checkout."""
    installed = Path(__file__).with_name("default.yaml")
    return installed if installed.exists() else Path(__file__).parents[2] / "config.yaml"


def detected(environ: Mapping[str, str]) -> Detected:
    """What the environment adds to the embedded default."""
    return detect(environ)


def load_default(environ: Mapping[str, str], has_price: HasPrice | None = None) -> Loaded:
    """The embedded default and the providers found in the environment. Raises ConfigFaults."""
    found = detect(environ)
    added = {"providers": found.providers, "models": found.models}
    return load(default_config_path(), environ, added, has_price)
