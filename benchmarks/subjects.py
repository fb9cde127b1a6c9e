"""What is measured: the floor, this gateway, and its peers where they are found. A table; nothing happens here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Final

from benchmarks.chat import ChatCall, Kind, chat_call

ROOT: Final = str(Path(__file__).resolve().parents[1])

_KEY: Final = "sk-bench-0123456789abcdef0123456789abcdef"

_WAYSTATION: Final = """\
version: 1
server: {listen: "127.0.0.1:$port", admin_listen: "127.0.0.1:$admin_port", drain_delay: 0s, drain: 1s}
providers:
  upstream: {kind: openai, base_url: "$upstream/v1", api_key: "sk-upstream"}
models:
  chat: {targets: [{provider: upstream, model: chat}]}
teams:
  bench: {keys: [{name: bench, key: "$key"}]}
"""
_LITELLM: Final = """\
model_list:
  - model_name: chat
    litellm_params: {model: openai/chat, api_base: "$upstream/v1", api_key: sk-upstream}
"""
_FERROGW: Final = """\
strategy: {mode: single}
targets: [{virtual_key: openai}]
"""
_TENSORZERO: Final = """\
[gateway]
bind_address = "127.0.0.1:$port"
observability.enabled = false

[models.chat]
routing = ["upstream"]

[models.chat.providers.upstream]
type = "openai"
api_base = "$upstream/v1"
model_name = "chat"
api_key_location = "none"
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """A server between the load and the upstream.

    `$port`, `$admin_port`, `$upstream` (a URL), `$key` and `$directory` are filled in wherever they stand in
    `arguments`, `files`, `environment` and `headers`.
    """

    name: str
    executables: tuple[str, ...]  #: the first one found on PATH, or beside this Python, is taken
    arguments: tuple[str, ...]
    marker: str = ""  #: must be in the executable's real path, for those whose name says little
    version: tuple[str, ...] = ()  #: arguments that print it
    files: Mapping[str, str] = field(default_factory=dict)  #: name in `$directory` -> text
    environment: Mapping[str, str] = field(default_factory=dict)
    path: str = "/v1/chat/completions"
    model: str = "chat"
    headers: tuple[tuple[str, str], ...] = ()
    is_peer: bool = True  #: left out where it is not installed, and by --quick

    def call(self, kind: Kind, values: Mapping[str, str]) -> ChatCall:
        """The request that it is asked with."""
        headers = tuple((name, fill(value, values)) for name, value in self.headers)
        port, key = int(values["port"]), values["key"]
        return chat_call(kind, port, key=key, path=self.path, model=self.model, headers=headers)


FLOOR: Final = Subject(
    "floor",
    (sys.executable,),
    ("-m", "benchmarks.floor", "$port", "$upstream/v1/chat/completions"),
    environment={"PYTHONPATH": ROOT},
    is_peer=False,
)
WAYSTATION: Final = Subject(
    "waystation",
    ("waystation",),
    ("serve", "--config", "$directory/waystation.yaml"),
    version=("--version",),
    files={"waystation.yaml": _WAYSTATION},
    is_peer=False,
)
PEERS: Final = (
    Subject(
        "litellm",
        ("litellm",),
        ("--config", "$directory/litellm.yaml", "--host", "127.0.0.1", "--port", "$port"),
        version=("--version",),
        files={"litellm.yaml": _LITELLM},
        environment={
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it asks the internet for prices otherwise
            "LITELLM_MASTER_KEY": "$key",
        },
    ),
    Subject(
        "ferrogw",
        ("ferrogw",),
        ("serve",),
        version=("version",),
        files={"ferrogw.yaml": _FERROGW},
        environment={
            "GATEWAY_CONFIG": "$directory/ferrogw.yaml",
            "MASTER_KEY": "$key",
            "OPENAI_API_KEY": "sk-upstream",
            "OPENAI_BASE_URL": "$upstream",
            "PORT": "$port",
            "RATE_LIMIT_RPS": "1000000",  # of one client; its default would refuse the load
            "RATE_LIMIT_BURST": "1000000",
        },
        model="gpt-4o",
    ),
    Subject(
        "portkey",
        ("gateway",),
        ("--port=$port", "--headless"),
        marker="@portkey-ai",
        headers=(("x-portkey-provider", "openai"), ("x-portkey-custom-host", "$upstream/v1")),
    ),
    Subject(
        "tensorzero",
        ("tensorzero-gateway", "gateway"),
        ("--config-file", "$directory/tensorzero.toml"),
        marker="tensorzero",
        version=("--version",),
        files={"tensorzero.toml": _TENSORZERO},
        path="/openai/v1/chat/completions",
        model="tensorzero::model_name::chat",
    ),
)
SUBJECTS: Final = (FLOOR, WAYSTATION, *PEERS)


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with its `$names` replaced; a `$` before anything else stays."""
    return Template(template).safe_substitute(values)


def values(port: int, admin_port: int, upstream_port: int, directory: Path) -> dict[str, str]:
    """What `fill` puts in for a subject that is started here."""
    return {
        "port": str(port),
        "admin_port": str(admin_port),
        "upstream": f"http://127.0.0.1:{upstream_port}",
        "key": _KEY,
        "directory": str(directory),
    }


def find(subject: Subject, folders: Iterable[Path] | None = None) -> Path | None:
    """Its executable; None if it is not installed. `folders` default to those of PATH and this Python's own."""
    if folders is None:
        folders = [Path(sys.executable).parent, *map(Path, os.environ.get("PATH", "").split(os.pathsep))]
    for folder in folders:
        for name in subject.executables:
            path = folder / name  # an absolute name replaces the folder
            if path.is_file() and os.access(path, os.X_OK) and subject.marker in str(path.resolve()):
                return path
    return None
