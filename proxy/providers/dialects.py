"""The quirks table: how each OpenAI-compatible API departs from OpenAI's own.

A row says only what the gateway must do differently; everything else travels untouched. What these APIs get wrong in
their answers (roles repeated, tool calls without an index) is mended for all of them alike, in `proxy/wire/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import quote, urlsplit

DialectName = Literal["openai", "deepseek", "qwen", "vllm", "ollama", "azure", "anthropic"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One row of the table."""

    name: DialectName
    #: Below the base URL; {model} is a deployment's name, quoted as one path segment, {api_version} a query value.
    path: str = "/chat/completions"
    embeddings_path: str = "/embeddings"
    key_header: str = "authorization"
    key_prefix: str = "Bearer "
    #: Does it understand `stream_options.include_usage`? Asked of one that does not, it may refuse the call.
    stream_usage: bool = True
    #: Request fields it knows under another name. The client's own use of that other name wins.
    renames: Mapping[str, str] = field(default_factory=dict)
    #: Message roles it refuses, and the one that means the same there.
    roles: Mapping[str, str] = field(default_factory=dict)
    #: Request fields that make it go on with a last message of the assistant's; without, it is told to in words.
    resuming: Mapping[str, object] = field(default_factory=dict)


_LEGACY_MAX_TOKENS: Final = MappingProxyType({"max_completion_tokens": "max_tokens"})
_NO_DEVELOPER: Final = MappingProxyType({"developer": "system"})
_CONTINUE_FINAL: Final = MappingProxyType({"continue_final_message": True, "add_generation_prompt": False})

DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType(
    {
        row.name: row
        for row in (
            Dialect("openai"),
            # Refuses the role: "unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`".
            Dialect("deepseek", renames=_LEGACY_MAX_TOKENS, roles=_NO_DEVELOPER),
            Dialect("qwen", renames=_LEGACY_MAX_TOKENS, roles=_NO_DEVELOPER),
            # Chat templates know the classic roles only; both names of the token limit are understood.
            Dialect("vllm", roles=_NO_DEVELOPER, resuming=_CONTINUE_FINAL),
            # Ignores what it doesn't know, so an unrenamed limit would silently not limit.
            Dialect("ollama", renames=_LEGACY_MAX_TOKENS, roles=_NO_DEVELOPER),
            Dialect(
                "azure",
                path="/openai/deployments/{model}/chat/completions?api-version={api_version}",
                embeddings_path="/openai/deployments/{model}/embeddings?api-version={api_version}",
                key_header="api-key",
                key_prefix="",
            ),
            # Anthropic's own OpenAI-compatible endpoint.
            Dialect("anthropic"),
        )
    }
)
_DEMO: Final = Dialect("openai", resuming=_CONTINUE_FINAL)

_HOSTS: Final = (
    ("api.deepseek.com", "deepseek"),
    ("aliyuncs.com", "qwen"),
    ("openai.azure.com", "azure"),
    ("api.anthropic.com", "anthropic"),
)


def dialect_for(kind: str, wanted: str, base_url: str) -> Dialect:
    """The row for a provider of the config: the one it names, else by its kind, else by its host, else OpenAI's."""
    if wanted != "auto":
        return DIALECTS[wanted]
    if kind == "demo":
        return _DEMO
    if kind in ("azure", "anthropic"):
        return DIALECTS[kind]
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    for suffix, name in _HOSTS:
        # Azure's newer /openai/v1 address speaks plain OpenAI.
        if (host == suffix or host.endswith(f".{suffix}")) and not (
            name == "azure" and parts.path.rstrip("/").endswith("/v1")
        ):
            return DIALECTS[name]
    return DIALECTS["ollama"] if parts.port == 11434 else DIALECTS["openai"]


def chat_url(dialect: Dialect, base_url: str, model: str, api_version: str) -> str:
    """Where this model's chat completions live. Made when a world is built: no caller's input reaches a URL."""
    return _url(dialect.path, base_url, model, api_version)


def embeddings_url(dialect: Dialect, base_url: str, model: str, api_version: str) -> str:
    """Where its embeddings live."""
    return _url(dialect.embeddings_path, base_url, model, api_version)


def _url(path: str, base_url: str, model: str, api_version: str) -> str:
    path = path.format(model=quote(model, safe=""), api_version=quote(api_version, safe=""))
    return base_url.rstrip("/") + path
