"""Several processes that serve as one: they come, go, are killed and exchanged, and clients notice as little as can be.

Each worker has books of its own here (`tests/prefork.py`): what they share is tested where it is shared.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import completion, sse_chunks
from tests.integration.gateway import ADMIN_KEY, ANSWER, KEY, Gateway, chat_body, config_for, until
from tests.integration.raw_client import RawClient, RawReply, connect, request_bytes
from tests.server import Server, ask, serving
from tests.upstream import ScriptedUpstream, reply_json, stream

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
#: Generous for a loaded machine; what is promised is 3 s.
_SOON_S = 20.0
_LETTERS = "abcdefghijklmnopqrst"


def _request(model: str = "chat", *, streams: bool = False) -> bytes:
    return request_bytes(headers={"Authorization": f"Bearer {KEY}"}, body=chat_body(model, stream=streams))


@asynccontextmanager
async def _crew(directory: Path, workers: int, changes: dict[str, str] | None = None) -> AsyncGenerator[Gateway, None]:
    script = reply_json(completion(ANSWER))
    async with ScriptedUpstream(script) as main, ScriptedUpstream(script) as spare:
        config = directory / "waystation.yaml"
        config.write_text(config_for(main.url, spare.url, changes=changes))
        server = Server(config, {"PYTHONPATH": str(ROOT)}, ("tests.prefork", str(workers)))
        try:
            await asyncio.to_thread(server.wait_until_ready)
            yield Gateway(server, main, spare)
        finally:
            if server.process.poll() is None:
                server.terminate()
            with suppress(Exception):
                await asyncio.to_thread(server.wait, 10)
            server.kill()


def _health(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = ask(f"{server.admin_url}/healthz").json()
    return found


def _processes(server: Server) -> dict[int, int]:
    """Of the workers that are ready: process -> connections."""
    return {one["process"]: one["connections"] for one in _health(server)["workers"] if one["state"] == "ready"}


def _is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _messages(server: Server) -> list[str]:
    return [str(event.get("message", "")) for event in server.log.events()]


async def _eventually(is_true: Callable[[], bool]) -> None:
    """Ask on a thread: the providers live on this loop, and so may whoever is asked wait for them."""
    deadline = time.monotonic() + _SOON_S
    while not await asyncio.to_thread(is_true):
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.05)


class Load:
    """Clients that ask one thing after the other, on connections that they use as long as they are let."""

    def __init__(self, address: tuple[str, int], clients: int) -> None:
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self._address = address
        self._is_over = False
        self._clients = [asyncio.create_task(self._ask(bool(index % 2))) for index in range(clients)]

    async def _ask(self, streams: bool) -> None:
        while not self._is_over:
            try:
                async with connect(self._address) as client:
                    goes_on = True
                    while goes_on:
                        goes_on = await self._call(client, streams) and not self._is_over
            except (OSError, EOFError, TimeoutError) as error:
                self.failures.append(repr(error))

    async def _call(self, client: RawClient, streams: bool) -> bool:
        await client.send(_request("sim", streams=streams))
        reply = await client.read_reply(10)
        self.statuses[reply.status] += 1
        if streams and not reply.body.endswith(b"data: [DONE]\n\n"):
            self.failures.append("a stream was cut")
        return reply.header("connection") != "close"

    async def end(self) -> None:
        self._is_over = True
        await asyncio.gather(*self._clients)


async def test_workers_start_together_are_welcomed_once_and_drain_together(tmp_path: Path) -> None:
    async with _crew(tmp_path, 3) as gateway:
        server = gateway.server
        assert server.stdout.text.count("Waystation is ready at") == 1
        assert "workers        3" in server.stdout.text
        health = _health(server)
        assert [(one["worker"], one["state"]) for one in health["workers"]] == [(n, "ready") for n in range(3)]
        assert health["worker"] in range(3)
        processes = _processes(server)
        assert (await gateway.post()).status == 200
        gateway.play(stream(sse_chunks(*_LETTERS), delay_s=0.1))
        async with connect(server.address) as streaming:
            await streaming.send(_request(streams=True))
            await until(lambda: gateway.asked == 2)
            server.terminate()
            # Whichever worker is asked, and on either address.
            await _eventually(lambda: server.ready().status == 503)
            assert {ask(f"{server.admin_url}/readyz").status for _ in range(6)} == {503}
            assert (await streaming.read_reply(10)).body.endswith(b"data: [DONE]\n\n")
        assert await asyncio.to_thread(server.wait, _SOON_S) == 0
        assert not any(map(_is_running, processes))
        assert _messages(server).count("stopped") == 3


async def test_a_second_signal_waits_for_nobody(tmp_path: Path) -> None:
    async with _crew(tmp_path, 2, {"drain_delay: 500ms": "drain_delay: 30s", "drain: 5s": "drain: 60s"}) as gateway:
        gateway.play(stream(sse_chunks(*_LETTERS * 20), delay_s=0.1))
        async with connect(gateway.server.address) as streaming:
            await streaming.send(_request(streams=True))
            await until(lambda: gateway.asked == 1)
            gateway.server.interrupt()
            await asyncio.sleep(0.3)
            gateway.server.interrupt()
            assert b"[DONE]" not in (await streaming.read_reply(_SOON_S)).body
        assert await asyncio.to_thread(gateway.server.wait, _SOON_S) == 0


async def test_connections_are_shared_out_evenly(tmp_path: Path) -> None:
    async with _crew(tmp_path, 4, {"header_timeout: 1s": "header_timeout: 30s"}) as gateway:
        await asyncio.sleep(0.5)
        clients = []
        for _ in range(40):
            clients += [await asyncio.open_connection(*gateway.server.address)]
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        spread = sorted(_processes(gateway.server).values())
        for _, writer in clients:
            writer.close()
    assert sum(spread) == 40
    assert spread[0] >= 5, spread
    assert spread[-1] <= 16, spread


async def test_a_killed_worker_takes_its_own_connections_alone_and_is_replaced(tmp_path: Path) -> None:
    async with _crew(tmp_path, 4) as gateway:
        gateway.play(stream(sse_chunks(*_LETTERS), delay_s=0.2))
        before, address = _processes(gateway.server), gateway.server.address

        async def follow() -> bool:
            async with connect(address) as client:
                await client.send(_request(streams=True))
                try:
                    return (await client.read_reply(_SOON_S)).body.endswith(b"data: [DONE]\n\n")
                except (OSError, EOFError):
                    return False

        following = [asyncio.create_task(follow()) for _ in range(16)]
        await until(lambda: gateway.asked == 16, _SOON_S)
        await asyncio.sleep(1)
        connections = _processes(gateway.server)
        victim = max(connections, key=lambda process: connections[process])
        os.kill(victim, signal.SIGKILL)
        killed_at = time.monotonic()
        await _eventually(lambda: len(_processes(gateway.server)) == 4)
        back_after_s = time.monotonic() - killed_at
        complete = sum(await asyncio.gather(*following))
        assert complete == 16 - connections[victim]
        assert connections[victim] > 0
        after = _processes(gateway.server)
        assert set(after) - set(before)
        assert victim not in after
        assert back_after_s < _SOON_S
        assert _health(gateway.server)["workers_lost"] == 1
        assert any("killed by SIGKILL" in message for message in _messages(gateway.server))


async def test_a_hangup_exchanges_all_workers_and_no_call_fails(tmp_path: Path) -> None:
    async with _crew(tmp_path, 2) as gateway:
        server = gateway.server
        before = _processes(server)
        gateway.play(stream(sse_chunks(*_LETTERS), delay_s=0.1))
        load = Load(server.address, 8)
        async with connect(server.address) as streaming:
            await streaming.send(_request(streams=True))
            await until(lambda: gateway.asked == 1)
            server.hang_up()
            assert (await streaming.read_reply(_SOON_S)).body.endswith(b"data: [DONE]\n\n")
        await _eventually(lambda: len(_processes(server)) == 2 and not set(before) & set(_processes(server)))
        await _eventually(lambda: not any(map(_is_running, before)))
        await load.end()
        assert load.failures == []
        assert set(load.statuses) == {200}
        assert _health(server)["workers_lost"] == 0
        assert server.process.poll() is None

        def counted() -> float:
            samples = server.metrics().items()
            return sum(value for name, value in samples if name.startswith("llm_requests_total"))

        await _eventually(lambda: counted() >= load.statuses[200] + 1)  # those of the predecessors too
        assert counted() == load.statuses[200] + 1


async def test_a_hangup_with_a_mistake_in_the_config_changes_nothing(tmp_path: Path) -> None:
    async with _crew(tmp_path, 2) as gateway:
        server = gateway.server
        before = _processes(server)
        server.write_config(gateway.config.replace("max_body: 20MB", "max_bodi: 20MB"))
        server.hang_up()
        await _eventually(lambda: any("no worker is restarted" in message for message in _messages(server)))
        assert _processes(server).keys() == before.keys()
        # One that is lost now gets the config that its siblings go on with.
        os.kill(next(iter(before)), signal.SIGKILL)
        await _eventually(lambda: len(_processes(server)) == 2)
        assert {ask(f"{server.admin_url}/readyz").json()["config_hash"] for _ in range(8)} == {server.config_hash()}


async def test_a_changed_config_is_taken_by_every_worker(tmp_path: Path) -> None:
    async with _crew(tmp_path, 2) as gateway:
        server, before = gateway.server, gateway.server.config_hash()
        server.write_config(gateway.config.replace("max_body: 20MB", "max_body: 10MB"))

        def in_force() -> dict[str, float]:
            return {name: value for name, value in server.metrics().items() if name.startswith("llm_config_info")}

        await _eventually(lambda: list(in_force().values()) == [2.0] and before not in str(in_force()))
        assert list(in_force()) == [f'llm_config_info{{config_hash="{server.config_hash()}"}}']


async def test_a_reload_that_one_worker_is_asked_for_reaches_all(tmp_path: Path) -> None:
    """The file is reached through a link from another directory, which no watcher sees change."""
    async with _crew(tmp_path, 2) as gateway:
        server, hidden = gateway.server, tmp_path / "elsewhere" / "real.yaml"
        hidden.parent.mkdir()
        hidden.write_text(gateway.config)
        server.config.unlink()
        server.config.symlink_to(hidden)
        await asyncio.sleep(1)
        hidden.write_text(gateway.config.replace("max_body: 20MB", "max_body: 10MB"))
        url, headers = f"{server.admin_url}/admin/v1/config/reload", {"Authorization": f"Bearer {ADMIN_KEY}"}
        answer = ask(url, method="POST", headers=headers).json()
        assert answer["changed"]
        taken = f'llm_config_info{{config_hash="{answer["config_hash"]}"}}'
        await _eventually(lambda: server.metric(taken) == 2)


async def test_a_parent_that_is_killed_leaves_no_orphan_and_cuts_no_call(tmp_path: Path) -> None:
    async with _crew(tmp_path, 2) as gateway:
        server, processes = gateway.server, _processes(gateway.server)
        gateway.play(stream(sse_chunks(*_LETTERS), delay_s=0.1))
        async with connect(server.address) as streaming:
            await streaming.send(_request(streams=True))
            await until(lambda: gateway.asked == 1)
            server.process.kill()
            await _eventually(lambda: _is_refused(server.address))
            assert (await streaming.read_reply(_SOON_S)).body.endswith(b"data: [DONE]\n\n")
        await _eventually(lambda: not any(map(_is_running, processes)))
        assert "the parent process is gone" in _messages(server)


def _is_refused(address: tuple[str, int]) -> bool:
    try:
        ask(f"http://{address[0]}:{address[1]}/livez")
    except OSError:
        return True
    return False


async def test_metrics_of_all_workers_add_up_and_outlive_them(tmp_path: Path) -> None:
    async with _crew(tmp_path, 2) as gateway:
        labels = 'model="sim",provider="simulated",status="200",team="platform"'
        server, count = gateway.server, f"llm_requests_total{{{labels}}}"
        replies: list[RawReply] = await asyncio.gather(*(gateway.post("sim") for _ in range(12)))
        assert {reply.status for reply in replies} == {200}
        await _eventually(lambda: server.metric(count) == 12)
        text = ask(f"{server.admin_url}/metrics").body.decode()
        await asyncio.sleep(1.5)  # each has written down by now what it had counted
        os.kill(next(iter(_processes(server))), signal.SIGKILL)
        await _eventually(lambda: _health(server)["workers_lost"] == 1 and len(_processes(server)) == 2)
        samples = server.metrics()
        assert samples[count] == 12
        assert samples['llm_request_duration_seconds_count{model="sim",provider="simulated"}'] == 12
        assert sum(value for name, value in samples.items() if name.startswith("llm_config_info")) == 2
        assert samples["llm_active_requests"] == 0
    (tmp_path / "one").mkdir()
    with serving(tmp_path / "one", gateway.config) as single:
        alone = ask(f"{single.admin_url}/metrics").body.decode()
    assert _described(text) == _described(alone)
    assert _described(text)


def _described(text: str) -> list[str]:
    return re.findall(r"^# (?:HELP|TYPE) .*$", text, re.MULTILINE)


async def test_a_worker_that_fails_at_its_start_does_not_spin_and_the_others_serve(tmp_path: Path) -> None:
    async with _crew(tmp_path, 2) as gateway:
        server = gateway.server
        (tmp_path / "fail-to-start").touch()
        os.kill(next(iter(_processes(server))), signal.SIGKILL)
        await asyncio.sleep(4)
        gone = sum("another takes its place" in message for message in _messages(server))
        assert 3 <= gone <= 7
        assert (await gateway.post()).status == 200
        assert server.ready().status == 200
        (tmp_path / "fail-to-start").unlink()
        await _eventually(lambda: len(_processes(server)) == 2)


@pytest.mark.parametrize("trouble", ["cannot-start", "fail-to-start"])
def test_a_server_whose_workers_never_start_ends(tmp_path: Path, trouble: str) -> None:
    (tmp_path / trouble).touch()
    config = tmp_path / "waystation.yaml"
    config.write_text(config_for("http://127.0.0.1:1", "http://127.0.0.1:1"))
    server = Server(config, {"PYTHONPATH": str(ROOT)}, ("tests.prefork", "2"))
    try:
        assert server.wait(30) == 1
    finally:
        server.kill()
    messages = _messages(server)
    assert any(message.endswith("the server can't start") for message in messages)
    if trouble == "cannot-start":
        assert not any("another takes its place" in message for message in messages)


def test_workers_over_sqlite_are_refused_with_what_to_do(tmp_path: Path) -> None:
    config = tmp_path / "waystation.yaml"
    config.write_text(config_for("http://127.0.0.1:1", "http://127.0.0.1:1"))
    server = Server(config, {}, ("proxy.cli", "serve", "--workers", "2", "--config"))
    try:
        assert server.wait(30) == 1
    finally:
        server.kill()
    assert "set state.url to a Redis" in server.log.text
    assert "Traceback" not in server.log.text
