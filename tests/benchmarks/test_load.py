"""What wrk is told, what it says, and the load without it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import servers
from benchmarks.chat import KINDS, Kind, chat_call
from benchmarks.client import BadAnswer
from benchmarks.load import Load, load_with_own_client, parse_wrk, put_load, wrk_script
from benchmarks.procfs import cpu_s


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Running]:
    with servers.upstream(servers.Cores.choose().load, tmp_path_factory.mktemp("upstream")) as running:
        yield running


def test_wrk_is_told_the_request() -> None:
    script = wrk_script(chat_call("stream", 80, key="sk-1"))
    assert 'wrk.method = "POST"' in script
    assert 'wrk.headers["authorization"] = "Bearer sk-1"' in script
    assert r'wrk.body = "{\"model\":\"chat\",\"stream\":true,' in script


def test_what_wrk_found_is_read() -> None:
    output = "Running 5s test\n  2 threads\nresult 35000 5002000 3\n"
    assert parse_wrk(output) == Load(35000, 5.002, 3)
    assert parse_wrk(output).per_s == pytest.approx(35000 / 5.002)


@pytest.mark.parametrize("output", ["", "unable to connect\n", "result\n", "result 1 2\n"])
def test_a_wrk_that_found_nothing_is_noticed(output: str) -> None:
    with pytest.raises(BadAnswer, match="no result"):
        parse_wrk(output)


@pytest.mark.integration
@pytest.mark.parametrize("kind", KINDS)
async def test_own_client_counts_what_the_upstream_answers(upstream: servers.Running, kind: Kind) -> None:
    cpu_before_s = cpu_s(upstream.pid)
    done = await load_with_own_client(upstream.calls[kind], 0.1, connections=4)
    assert done.failed == 0
    assert done.requests >= 4
    assert done.seconds >= 0.1
    assert cpu_s(upstream.pid) >= cpu_before_s


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
@pytest.mark.parametrize("kind", KINDS)
def test_wrk_counts_what_the_upstream_answers(upstream: servers.Running, kind: Kind, tmp_path: Path) -> None:
    done = put_load(upstream.calls[kind], 1, tmp_path)
    assert done.failed == 0
    assert done.requests > 64


@pytest.mark.integration
async def test_a_refused_connection_is_an_error() -> None:
    (port,) = servers.free_ports(1)
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await load_with_own_client(chat_call("json", port), 0.1, connections=1)
