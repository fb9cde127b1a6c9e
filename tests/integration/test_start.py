"""How the gateway starts, and how it says that it cannot."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from tests.integration.gateway import KEY, chat_body, config_for
from tests.server import ask, serving, starting

pytestmark = pytest.mark.integration

_CONFIG = config_for("http://127.0.0.1:1", "http://127.0.0.1:1")


def test_a_start_waits_for_nothing(tmp_path: Path) -> None:
    """The aim is 1.5 s on a quiet machine (benchmarks/); this catches a start that sits out a time-out."""
    started = time.monotonic()
    with serving(tmp_path, _CONFIG) as server:
        reply = ask(
            f"{server.base_url}/chat/completions",
            method="POST",
            headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
            body=chat_body("sim"),
        )
        assert reply.status == 200
        assert time.monotonic() - started < 6


@pytest.mark.parametrize("workers", [1, 2])
def test_every_line_of_the_log_is_json_from_the_first_one_on(tmp_path: Path, workers: int) -> None:
    text = _CONFIG.replace("server:\n", f"server:\n  workers: {workers}\n", 1)
    text += 'state: {url: "redis://:s3cret@127.0.0.1:1/0", retain: {requests: 1d}}\n'
    with serving(tmp_path, text, is_ready=False) as server:
        log = server.log.text
    assert "its version and its maxmemory-policy were not checked" in log
    events = [json.loads(line) for line in log.splitlines()]
    assert all(("worker" in event) == (workers > 1) for event in events)
    assert "s3cret" not in log


def test_a_port_in_use_is_said_and_exits_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with starting(tmp_path, _CONFIG.replace('listen: "127.0.0.1:0"', f'listen: "127.0.0.1:{port}"', 1)) as server:
            assert server.wait() == 1
    assert f"cannot listen on 127.0.0.1:{port}" in server.log.text
    assert "--port" in server.log.text
    assert "Traceback" not in server.log.text


def test_every_fault_of_a_config_is_named_with_its_place_and_exits_1(tmp_path: Path) -> None:
    text = _CONFIG.replace("max_body: 20MB", "max_bodi: 20MB").replace("drain: 5s", "drain: soon")
    with starting(tmp_path, text) as server:
        assert server.wait() == 1
    for fault in ("max_bodi", "drain: soon"):
        line, content = next((n, line) for n, line in enumerate(text.splitlines(), 1) if fault in line)
        assert f"{server.config}:{line}:" in server.log.text
        assert content
    assert "Traceback" not in server.log.text
    assert KEY not in server.log.text


def test_broken_yaml_is_named_with_its_place_and_exits_1(tmp_path: Path) -> None:
    with starting(tmp_path, "version: 1\nproviders: [\n  oops: : :\n") as server:
        assert server.wait() == 1
    assert f"{server.config}:3:" in server.log.text
    assert "Traceback" not in server.log.text


def test_a_missing_secret_refuses_to_start_and_is_named(tmp_path: Path) -> None:
    with starting(tmp_path, _CONFIG.replace(f'"{KEY}"', '"${NOT_SET_ANYWHERE}"')) as server:
        assert server.wait() == 1
    assert "NOT_SET_ANYWHERE" in server.log.text


def test_a_file_that_does_not_exist_is_said_and_exits_1(tmp_path: Path) -> None:
    with starting(tmp_path, None) as server:
        assert server.wait() == 1
    assert str(server.config) in server.log.text
    assert "Traceback" not in server.log.text


def test_a_secret_comes_from_the_environment(tmp_path: Path) -> None:
    text = _CONFIG.replace(f'"{KEY}"', '"${TEAM_KEY}"')
    with serving(tmp_path, text, {"TEAM_KEY": "sk-way-from-the-environment"}) as server:
        reply = ask(f"{server.base_url}/models", headers={"Authorization": "Bearer sk-way-from-the-environment"})
        assert reply.status == 200
        assert ask(f"{server.base_url}/models", headers={"Authorization": f"Bearer {KEY}"}).status == 401
        assert "sk-way-from-the-environment" not in server.stdout.text + server.log.text
