"""What a server prints when it is ready: where it is, and how to ask it."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

from proxy.cli.source import Source
from proxy.config import Config


def welcome(source: Source, config: Config, sockets: Sequence[socket.socket], workers: int = 1) -> str:
    """The text; `sockets` are the clients', and the operators' if there is one."""
    host, port = sockets[0].getsockname()[:2]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    base_url = f"http://{shown}:{port}/v1"
    key = source.client_key or "YOUR_KEY"
    model = next(iter(config.models), "MODEL")
    lines = [
        "",
        f"  Waystation is ready at {base_url}",
        f"  client key     {source.client_key or 'one of those under teams: in the config'}",
        f"  config         {source.path} (a change is live at once)",
        f"  providers      {', '.join(_describe(name, source.found) for name in config.providers)}",
    ]
    if workers > 1:
        lines.append(f"  workers        {workers}")
    if len(sockets) > 1:
        admin_host, admin_port = sockets[1].getsockname()[:2]
        lines.append(f"  metrics        http://{admin_host}:{admin_port}/metrics")
    lines += [
        "",
        f"  curl {base_url}/chat/completions -H 'Authorization: Bearer {key}' \\",
        "    -H 'Content-Type: application/json' \\",
        f'    -d \'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}\'',
        "",
        "  from openai import OpenAI",
        f'  client = OpenAI(base_url="{base_url}", api_key="{key}")',
        '  messages = [{"role": "user", "content": "Hello"}]',
        f'  print(client.chat.completions.create(model="{model}", messages=messages).choices[0].message.content)',
        "",
    ]
    return "\n".join(lines)


def _describe(provider: str, found: Mapping[str, str]) -> str:
    return f"{provider} ({found[provider]})" if provider in found else provider
