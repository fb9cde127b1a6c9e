"""One running gateway between a client and two scripted providers, and what every test needs to know of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from openai import AsyncOpenAI, OpenAI

from tests.fakes import completion
from tests.integration.raw_client import RawReply, connect, request_bytes
from tests.server import Server, serving
from tests.upstream import Behaviour, ScriptedUpstream, reply_json

KEY = "sk-way-platform-5c1b9c"
SEARCH_KEY = "sk-way-search-77aa10"
ADMIN_KEY = "sk-way-admin-0be4f2"
VIEWER_KEY = "sk-way-viewer-91d3e8"
PROVIDER_KEY = "sk-provider-3fa2c9d1"
#: In every prompt that is sent; must never turn up in a log or a metric.
PROMPT = "zanzibar-prompt-4471"
ANSWER = "quetzal-answer-9902"
_SECRETS = (KEY, SEARCH_KEY, ADMIN_KEY, VIEWER_KEY, PROVIDER_KEY, PROMPT, ANSWER)

_CONFIG = f"""\
version: 1
server:
  listen: "127.0.0.1:0"
  admin_listen: "127.0.0.1:0"
  max_body: 20MB
  header_timeout: 1s
  body_timeout: 1s
  drain_delay: 500ms
  drain: 5s
  keepalive_comment: 150ms
providers:
  main: {{kind: openai, base_url: "MAIN/v1", api_key: "{PROVIDER_KEY}"}}
  spare: {{kind: openai, base_url: "SPARE/v1", api_key: "{PROVIDER_KEY}"}}
  main-httpx: {{kind: openai, base_url: "MAIN/v1", api_key: "{PROVIDER_KEY}", transport: httpx}}
  nowhere: {{kind: openai, base_url: "http://127.0.0.1:1/v1", api_key: "{PROVIDER_KEY}"}}
  simulated: {{kind: demo, profile: fast}}
models:
  chat:
    aliases: [gpt-4o-mini, org/chat-v1]
    timeouts: {{connect: 1s, first_token: 1s, idle: 1s, total: 10s, commit_after: 5s}}
    retries: {{max_attempts: 1}}
    targets: [{{provider: main, model: up-chat}}]
  chat-httpx:
    timeouts: {{connect: 1s, first_token: 1s, idle: 1s, total: 10s, commit_after: 5s}}
    retries: {{max_attempts: 1}}
    targets: [{{provider: main-httpx, model: up-chat}}]
  pair:                     # both targets are the same upstream: its script says what the first and the second get
    timeouts: {{connect: 1s, first_token: 500ms, idle: 1s, total: 10s, commit_after: 5s}}
    retries: {{max_attempts: 2}}
    targets: [{{provider: main, model: up-one}}, {{provider: main, model: up-two}}]
  pair-httpx:
    timeouts: {{connect: 1s, first_token: 500ms, idle: 1s, total: 10s, commit_after: 5s}}
    retries: {{max_attempts: 2}}
    targets: [{{provider: main-httpx, model: up-one}}, {{provider: main-httpx, model: up-two}}]
  patient:                  # commits early, and waits long behind the comments
    timeouts: {{connect: 1s, first_token: 800ms, idle: 1s, total: 10s, commit_after: 200ms}}
    retries: {{max_attempts: 2}}
    targets: [{{provider: main, model: up-one}}, {{provider: main, model: up-two}}]
  falls-back:
    timeouts: {{connect: 1s, first_token: 1s, idle: 1s, total: 10s}}
    retries: {{max_attempts: 2}}
    targets: [{{provider: main, model: up-chat}}]
    fallbacks: [{{on: unavailable, model: spare}}]
  spare:
    retries: {{max_attempts: 1}}
    targets: [{{provider: spare, model: up-spare}}]
  rescued:
    timeouts: {{connect: 1s, first_token: 1s, idle: 500ms, total: 10s}}
    retries: {{max_attempts: 3}}
    rescue: true
    targets: [{{provider: main, model: up-one}}, {{provider: main, model: up-two}}]
  hedged:                   # main is the cheaper one
    strategy: balanced
    slo: {{ttft: 1s}}
    hedge: {{max_extra_cost: 100%}}
    targets:
      - {{provider: main, model: up-main, price_usd_per_mtok: {{input: 1, output: 1}}}}
      - {{provider: spare, model: up-spare, price_usd_per_mtok: {{input: 3, output: 3}}}}
  refused:
    retries: {{max_attempts: 1}}
    targets: [{{provider: nowhere, model: up-chat}}]
  sim:
    retries: {{max_attempts: 1}}
    targets: [{{provider: simulated, model: sim-1}}]
teams:
  platform:
    keys: [{{name: ci, key: "{KEY}"}}]
  search:
    keys: [{{name: web, key: "{SEARCH_KEY}"}}]
    models: [chat, falls-back]
admin:
  keys: [{{name: ops, key: "{ADMIN_KEY}", role: admin}}, {{name: finance, key: "{VIEWER_KEY}", role: viewer}}]
"""


def config_for(main_url: str, spare_url: str, *, changes: dict[str, str] | None = None) -> str:
    """The config above with these providers; each key of `changes` is a line of it, without its indent, and its value
    what stands there instead.
    """
    text = _CONFIG.replace("MAIN", main_url).replace("SPARE", spare_url)
    for old, new in (changes or {}).items():
        assert text.count(f" {old}\n") + text.count(f"\n{old}\n") >= 1, f"the config has no line '{old}'"
        text = text.replace(old, new)
    return text


def chat_body(model: str = "chat", *, stream: bool = False, content: str = PROMPT) -> bytes:
    """A chat request as its client would write it."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": content}]}
    if stream:
        body["stream"] = True
    return orjson.dumps(body)


class Gateway:
    """The server, its two providers, and clients for it."""

    def __init__(self, server: Server, main: ScriptedUpstream, spare: ScriptedUpstream) -> None:
        self.server = server
        self.main = main
        self.spare = spare

    @property
    def asked(self) -> int:
        """Requests that reached a provider since `reset`."""
        return len(self.main.requests) + len(self.spare.requests)

    @property
    def config(self) -> str:
        """The text it was started with."""
        return config_for(self.main.url, self.spare.url)

    def reset(self) -> None:
        """Forget what the providers were asked; both answer with `ANSWER` from now on."""
        for upstream in (self.main, self.spare):
            upstream.requests.clear()
            upstream.sent_at.clear()
            upstream.script[:] = [reply_json(completion(ANSWER))]

    def play(self, *script: Behaviour) -> None:
        """What the main provider does with the next requests; the last one repeats."""
        self.main.script[:] = script

    async def post(
        self,
        model: str = "chat",
        *,
        streams: bool = False,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> RawReply:
        """One chat request on a connection of its own. `headers` go before those that it would have otherwise."""
        sent = {"Authorization": f"Bearer {KEY}", **(headers or {})}
        async with connect(self.server.address) as client:
            await client.send(
                request_bytes(headers=sent, body=chat_body(model, stream=streams) if body is None else body)
            )
            return await client.read_reply()

    def client(self, key: str = KEY, **options: Any) -> OpenAI:
        """The official SDK, synchronous. Use it from a thread: the providers live on the test's event loop."""
        return OpenAI(base_url=self.server.base_url, api_key=key, timeout=20, **options)

    def async_client(self, key: str = KEY, **options: Any) -> AsyncOpenAI:
        """The official SDK, asynchronous."""
        return AsyncOpenAI(base_url=self.server.base_url, api_key=key, timeout=20, **options)

    def check_secrets(self) -> None:
        """No key, prompt or answer stands in the log or the metrics."""
        metrics = "\n".join(self.server.metrics()) if self.server.process.poll() is None else ""
        for secret in _SECRETS:
            assert secret not in self.server.log.text
            assert secret not in self.server.stdout.text
            assert secret not in metrics


async def until(is_true: Callable[[], bool], within_s: float = 5.0) -> None:
    """Return as soon as it is true, letting the event loop run meanwhile. Raises TimeoutError."""
    deadline = time.monotonic() + within_s
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not become true within {within_s:g} s")
        await asyncio.sleep(0.002)


@asynccontextmanager
async def running_gateway(
    directory: Path, *, changes: dict[str, str] | None = None, environment: dict[str, str] | None = None
) -> AsyncGenerator[Gateway, None]:
    """A gateway of one's own. At the end nothing secret may have been written."""
    async with AsyncExitStack() as stack:
        main = await stack.enter_async_context(ScriptedUpstream(reply_json(completion(ANSWER))))
        spare = await stack.enter_async_context(ScriptedUpstream(reply_json(completion(ANSWER))))
        config = config_for(main.url, spare.url, changes=changes)
        server = stack.enter_context(serving(directory, config, environment))
        gateway = Gateway(server, main, spare)
        yield gateway
        await asyncio.to_thread(gateway.check_secrets)
