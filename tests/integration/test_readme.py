"""What the README and the docs tell a newcomer to type, typed."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import Output, ask, wait_until

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
KEY = "sk-way-readme-0123456789"


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def docs(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "OPENAI_API_KEY": "sk-x-123456", "SEARCH_KEY": KEY}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=30, check=False, env=environ, cwd=cwd
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the embedded default runs: its state lies in its working directory."""
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def printed(folder: Path) -> Iterator[str]:
    """What the embedded default prints, while it runs."""
    addresses = {"WAYSTATION_LISTEN": "127.0.0.1:0", "WAYSTATION_ADMIN_LISTEN": "127.0.0.1:0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy.cli", "serve"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "WAYSTATION_KEY": KEY, **addresses},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    output = Output(process.stdout)
    try:
        wait_until(lambda: "print(" in output.text, 30)
        yield output.text
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
        output.join()


def base_url(printed: str) -> str:
    found = re.search(r"ready at (\S+)", printed)
    assert found is not None
    return found.group(1)


def post_as_curl(command: str) -> bytes:
    """Do what a curl line says, without curl."""
    words = shlex.split(command.replace("\\\n", " "))
    assert words[0] == "curl"
    url = next(word for word in words if word.startswith("http"))
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    body = words[words.index("-d") + 1].encode()
    reply = ask(url, method="POST", headers=headers, body=body)
    assert reply.status == 200
    return reply.body


def test_the_printed_curl_line_is_answered(printed: str) -> None:
    command = printed[printed.index("curl ") : printed.index("\n\n", printed.index("curl "))]
    assert b"simulated answer" in post_as_curl(command)


def test_the_printed_sdk_lines_are_answered(printed: str) -> None:
    lines = printed[printed.index("  from openai") :].strip().splitlines()
    assert len(lines) == 4
    done = run("-c", "\n".join(line.strip() for line in lines))
    assert "simulated answer" in done.stdout, done.stderr


def test_the_curl_line_of_the_readme_is_answered(printed: str) -> None:
    [command] = [block for block in blocks("sh") if block.startswith("curl")]
    command = command.replace("http://127.0.0.1:8080/v1", base_url(printed)).replace("$WAYSTATION_KEY", KEY)
    assert b"simulated answer" in post_as_curl(command)


def test_the_sdk_lines_of_the_readme_are_answered(printed: str) -> None:
    [program] = blocks("python")
    program = program.replace("http://127.0.0.1:8080/v1", base_url(printed)).replace("...the printed key...", KEY)
    done = run("-c", program)
    assert "simulated answer" in done.stdout, done.stderr


@pytest.mark.parametrize(("name", "said"), [("accounting.md", b'"input_tokens":'), ("caching.md", b'"purged":')])
def test_the_curl_lines_of_the_docs_are_answered(printed: str, name: str, said: bytes) -> None:
    [command] = blocks("sh", docs(name))
    root = base_url(printed).removesuffix("/v1")
    assert said in post_as_curl(command.replace("localhost:8080", root).replace("$KEY", KEY))


def test_the_sdk_line_for_embeddings_is_answered(printed: str) -> None:
    [line] = blocks("python", docs("embeddings.md"))
    client = f'from openai import OpenAI; client = OpenAI(base_url="{base_url(printed)}", api_key="{KEY}")'
    done = run("-c", f"{client}\nprint(len(({line.strip()}).data))")
    assert done.stdout == "2\n", done.stderr


def test_the_report_and_the_quota_of_the_readme_look_as_shown(printed: str, folder: Path) -> None:
    [block] = [block for block in blocks("sh") if block.startswith(".venv/bin/waystation report")]
    report, curl = block.splitlines()
    headers = {"Authorization": f"Bearer {KEY}"}
    body = b'{"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}'
    reply = ask(f"{base_url(printed)}/chat/completions", method="POST", headers=headers, body=body)
    assert reply.status == 200
    arguments = shlex.split(report, comments=True)[1:]
    wait_until(lambda: run("-m", "proxy.cli", *arguments, cwd=folder).returncode == 0)
    done = run("-m", "proxy.cli", *arguments, cwd=folder)
    shown = README.partition("After 200 calls of the demo:\n\n```\n")[2].partition("```")[0]
    for line in ("how it is known", "reported", "unmetered", "Quotas, as booked", "default      usd per month"):
        assert any(one.startswith(line) for one in shown.splitlines())
        assert any(one.startswith(line) for one in done.stdout.splitlines()), done.stdout
    assert "Check: Σ calls = Σ sums" in done.stdout
    assert "http://127.0.0.1:8080/v1/quota" in curl
    [shown_quota] = [json.loads(block) for block in blocks("json")]
    quota = ask(f"{base_url(printed)}/quota", headers=headers).json()
    assert quota.keys() == shown_quota.keys()
    assert quota["quotas"][0].keys() == shown_quota["quotas"][0].keys()


def test_the_config_of_the_readme_holds(tmp_path: Path) -> None:
    [text] = blocks("yaml")
    (tmp_path / "my.yaml").write_text(text)
    done = run("-m", "proxy.cli", "check", "--config", str(tmp_path / "my.yaml"))
    assert done.returncode == 0, done.stderr
    assert "2 providers, 2 models, 1 team, 0 warnings" in done.stdout


def test_the_readme_names_the_commands_that_there_are() -> None:
    shell = "\n".join(blocks("sh"))
    for command in ("./scripts/serve", "./scripts/test", "waystation check --config", "waystation serve --config"):
        assert command in shell
    for command in ("check", "serve"):
        assert run("-m", "proxy.cli", command, "--help").returncode == 0
