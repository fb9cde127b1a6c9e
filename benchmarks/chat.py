"""The request that is sent: what the official Python SDK sends, byte for byte but for the order of two headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import orjson

Kind = Literal["json", "stream"]
KINDS: Final[tuple[Kind, ...]] = ("json", "stream")

_SDK_HEADERS: Final = (
    ("accept-encoding", "gzip, deflate"),
    ("connection", "keep-alive"),
    ("accept", "application/json"),
    ("content-type", "application/json"),
    ("user-agent", "OpenAI/Python 3.52.0"),
    ("x-stainless-lang", "python"),
    ("x-stainless-package-version", "3.52.0"),
    ("x-stainless-os", "Linux"),
    ("x-stainless-arch", "x64"),
    ("x-stainless-runtime", "CPython"),
    ("x-stainless-runtime-version", "3.11.7"),
    ("x-stainless-async", "false"),
    ("x-stainless-retry-count", "0"),
    ("x-stainless-read-timeout", "600"),
)


@dataclass(frozen=True, slots=True)
class ChatCall:
    """One chat request, ready to be sent again and again."""

    port: int
    path: str
    headers: tuple[tuple[str, str], ...]  #: without `host` and `content-length`
    body: bytes

    def encode(self) -> bytes:
        """The request as it goes over the wire."""
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"host: 127.0.0.1:{self.port}",
            *(f"{name}: {value}" for name, value in self.headers),
            f"content-length: {len(self.body)}",
        ]
        return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + self.body


def chat_call(
    kind: Kind,
    port: int,
    *,
    key: str = "sk-none",
    path: str = "/v1/chat/completions",
    model: str = "chat",
    headers: tuple[tuple[str, str], ...] = (),
) -> ChatCall:
    """A short question; `headers` are added to the SDK's own."""
    body: dict[str, object] = {"model": model}
    if kind == "stream":
        body["stream"] = True
    body["messages"] = [
        {"role": "system", "content": "You answer in one short sentence."},
        {"role": "user", "content": "What is the capital of France, and how many people live there?"},
    ]
    body["max_completion_tokens"] = 200
    body["temperature"] = 0.2
    return ChatCall(port, path, (("authorization", f"Bearer {key}"), *_SDK_HEADERS, *headers), orjson.dumps(body))
