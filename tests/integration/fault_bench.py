"""The bench on which faults are played: one gateway, an upstream of its own for each case, and a healthy one."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal

from tests.fakes import completion, sse_chunks
from tests.integration.fault import Case, Unreachable
from tests.integration.raw_client import RawReply, connect, request_bytes
from tests.server import Server, ask, serving
from tests.upstream import Behaviour, ScriptedUpstream, hang, reply_json, stream

KEY = "sk-way-faults-41c7e0"
ADMIN_KEY = "sk-way-admin-faults-9b02d5"
PROVIDER_KEY = "sk-provider-faults-77d1aa"
#: What the healthy target says.
WELL = "all well"
_TIMEOUTS = {"connect": "5s", "first_token": "5s", "idle": "5s", "total": "20s", "commit_after": "15s"}

#: `alone`: the faulty target is the model's only one. `backed`: a healthy one stands behind it.
SetUp = Literal["alone", "backed"]
SET_UPS: Final[tuple[SetUp, ...]] = ("alone", "backed")
#: Makes the certificate that nobody trusts.
CERTIFIER: Final = shutil.which("openssl")


@dataclass(frozen=True, slots=True)
class Play:
    """One case as it was played."""

    case: Case
    target: str
    upstream: ScriptedUpstream | None  #: None where none could be reached
    reply: RawReply


class Bench:
    """Plays each case once: what routing learned of a target would spoil a second time."""

    def __init__(self, server: Server, healthy: ScriptedUpstream, upstreams: Mapping[str, ScriptedUpstream]) -> None:
        self.server = server
        self.healthy = healthy
        self._upstreams = upstreams

    async def play(self, case: Case, set_up: SetUp) -> Play:
        """One call to the case's own model."""
        name = _name(case, set_up)
        self.heal(case)
        return Play(case, f"{name}/up", self._upstreams.get(name), await self.ask(case, name))

    def heal(self, case: Case) -> None:
        """The healthy upstream answers as this case wants it, and forgets what it was asked."""
        self.healthy.requests.clear()
        self.healthy.script[:] = [stream(sse_chunks(WELL)) if case.is_stream else reply_json(completion(WELL))]

    async def ask(self, case: Case, model: str) -> RawReply:
        """The case's request, to any model."""
        body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": case.fault.prompt}]}
        if case.is_stream:
            body["stream"] = True
        request = request_bytes(headers={"Authorization": f"Bearer {KEY}"}, body=json.dumps(body).encode())
        async with connect(self.server.address) as client:
            await client.send(request)
            return await client.read_reply(within_s=15)

    async def fare(self, target: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """How a target fares once nothing is in flight there, and one that was never asked."""
        async with asyncio.timeout(5):
            while True:
                rows = await asyncio.to_thread(self._targets)
                if rows[target]["in_flight"] == 0:
                    return rows[target], rows["untouched/up"]

    def _targets(self) -> dict[str, dict[str, Any]]:
        listed = ask(f"{self.server.admin_url}/admin/v1/targets", headers={"Authorization": f"Bearer {ADMIN_KEY}"})
        return {row["target"]: row for row in listed.json()["targets"]}


@asynccontextmanager
async def running_bench(directory: Path, cases: Iterable[Case]) -> AsyncGenerator[Bench, None]:
    """A bench for these cases."""
    async with AsyncExitStack() as stack:
        addresses = await _start_addresses(stack, directory)
        healthy = await stack.enter_async_context(ScriptedUpstream(hang()))
        urls = {"healthy": healthy.url, "untouched": healthy.url}
        transports = dict.fromkeys(urls, "aiohttp")
        models = {name: _model([name], {}) for name in urls}
        upstreams: dict[str, ScriptedUpstream] = {}
        for case, set_up in product(cases, SET_UPS):
            name = _name(case, set_up)
            models[name] = _model([name] if set_up == "alone" else [name, "healthy"], case.timeouts)
            transports[name] = case.transport
            if isinstance(case.does, Behaviour):
                upstreams[name] = await stack.enter_async_context(ScriptedUpstream(case.does))
                urls[name] = upstreams[name].url
            else:
                urls[name] = addresses[case.does]
        # Without a network a look-up must not take its usual ten seconds to fail.
        environment = {"RES_OPTIONS": "timeout:1 attempts:1"}
        server = stack.enter_context(serving(directory, _config(urls, transports, models), environment))
        yield Bench(server, healthy, upstreams)


def _name(case: Case, set_up: SetUp) -> str:
    return re.sub("[^a-z0-9]+", "-", f"{case} {set_up}".lower()).strip("-")


def _model(providers: Sequence[str], timeouts: Mapping[str, str]) -> dict[str, Any]:
    return {
        "strategy": "round_robin",  # a new model's first call goes to its first target
        "timeouts": {**_TIMEOUTS, **timeouts},
        "retries": {"max_attempts": 2},
        "targets": [{"provider": provider, "model": "up"} for provider in providers],
    }


def _config(urls: Mapping[str, str], transports: Mapping[str, str], models: Mapping[str, Any]) -> str:
    config = {
        "version": 1,
        "server": {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0", "max_body": "20MB"},
        "providers": {
            name: {
                "kind": "openai",
                "base_url": f"{url}/v1",
                "api_key": PROVIDER_KEY,
                "transport": transports[name],
            }
            for name, url in urls.items()
        },
        "models": models,
        "teams": {"bench": {"keys": [{"name": "ci", "key": KEY}]}},
        "admin": {"keys": [{"name": "ops", "key": ADMIN_KEY, "role": "admin"}]},
    }
    return json.dumps(config)  # which is YAML too


async def _start_addresses(stack: AsyncExitStack, directory: Path) -> dict[Unreachable, str]:
    """A URL for each address at which no request is read."""
    refusing = _reserve_port(stack)
    mute = await stack.enter_async_context(ScriptedUpstream(hang()))  # it takes the greeting for the start of a head
    return {
        Unreachable.REFUSED: f"http://127.0.0.1:{refusing.getsockname()[1]}",
        Unreachable.UNRESOLVABLE: "http://no-such-host.invalid",
        Unreachable.BLACKHOLE: f"http://127.0.0.1:{_fill_backlog(stack)}",
        Unreachable.MUTE: mute.url.replace("http:", "https:"),
        Unreachable.UNTRUSTED: f"https://127.0.0.1:{await _distrusted(stack, directory)}",
    }


def _reserve_port(stack: AsyncExitStack) -> socket.socket:
    """A port of one's own on which nobody listens."""
    owner = stack.enter_context(socket.socket())
    owner.bind(("127.0.0.1", 0))
    return owner


def _fill_backlog(stack: AsyncExitStack) -> int:
    """A port on which the system drops what comes, as the queue of its listener is full."""
    listener = _reserve_port(stack)
    listener.listen(0)
    for _ in range(4):
        filler = stack.enter_context(socket.socket())
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    return int(listener.getsockname()[1])


async def _distrusted(stack: AsyncExitStack, directory: Path) -> int:
    """A port where TLS is spoken with a certificate that no authority has signed."""
    if CERTIFIER is None:
        return 1
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    command = [CERTIFIER, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0, ssl=context)
    await stack.enter_async_context(server)
    return int(server.sockets[0].getsockname()[1])
