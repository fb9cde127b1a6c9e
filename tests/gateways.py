"""Gateways without sockets: built from a config's text, asked through httpx's ASGI transport."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from proxy.api import admin_face, client_face
from proxy.app import Gateway, State
from proxy.config import Loaded
from proxy.config.load import load_text
from proxy.observe import Metrics
from proxy.state import ClaimStore, News, Registry

KEY, OTHER_KEY = "sk-way-search-0123456789", "sk-way-sales-0123456789"
ADMIN_KEY, VIEWER_KEY = "sk-way-admin-0123456789", "sk-way-viewer-0123456789"
CONFIG = f"""
version: 1
providers:
  demo: {{kind: demo, faults: {{first_token: 0ms, per_token: 0ms}}}}
models:
  chat: {{aliases: [default, org/chat], targets: [{{provider: demo, model: demo-1}}]}}
  large: {{targets: [{{provider: demo, model: demo-2}}]}}
teams:
  search: {{keys: [{{name: ci, key: {KEY}}}], models: [chat]}}
  sales: {{keys: [{{name: web, key: {OTHER_KEY}}}]}}
admin:
  keys: [{{name: ops, key: {ADMIN_KEY}, role: admin}}, {{name: finance, key: {VIEWER_KEY}, role: viewer}}]
"""


class Lines:
    """A CallLog that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def write(self, event: str, fields: dict[str, object], loop: object) -> None:
        self.lines.append({"event": event, **fields})


class Rig:
    """A gateway whose config can be changed under it."""

    def __init__(
        self,
        text: str = CONFIG,
        registry: Registry | None = None,
        claims: ClaimStore | None = None,
        news: News | None = None,
    ) -> None:
        self.text = text
        self.log = Lines()
        self.metrics = Metrics()
        self.registry = registry
        state = State(registry=registry, claims=claims, news=news)
        self.gateway = Gateway(self._load, self.metrics, self.log, state)  # type: ignore[arg-type]  # a fake log

    def _load(self) -> Loaded:
        return load_text(self.text, {}, str(Path("gateway.yaml")))

    def client(self, key: str | None = KEY) -> httpx.AsyncClient:
        """A client at the clients' address."""
        return self._client(client_face(self.gateway), key)

    def admin(self, key: str | None = ADMIN_KEY) -> httpx.AsyncClient:
        """A client at the operators' address."""
        return self._client(admin_face(self.gateway, self.gateway), key)

    def _client(self, face: Callable[..., Any], key: str | None) -> httpx.AsyncClient:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.AsyncClient(transport=httpx.ASGITransport(face), base_url="http://gateway", headers=headers)


def chat_body(model: str = "chat", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], **fields}
