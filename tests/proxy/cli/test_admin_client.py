import argparse
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from proxy.cli.admin_client import add_options, query

KEY = "sk-way-admin-0123456789"


class Answering(BaseHTTPRequestHandler):
    """Answers with what the path names, and says what it was asked."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("content-length", 0)))
        bodies = {
            "/good": b'{"method": "%b", "sent": "%b"}' % (self.command.encode(), sent.replace(b'"', b"'")),
            "/bad": b'{"error": {"message": "No such thing."}}',
        }
        self.send_response(404 if self.path == "/bad" else 500 if self.path == "/odd" else 200)
        self.end_headers()
        self.wfile.write(bodies.get(self.path, b"<html>"))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def url() -> Any:
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYSTATION_ADMIN_KEY", KEY)


def options(url: str, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(["--url", url, *more])


def render(answer: Mapping[str, Any]) -> str:
    return f"{answer['method']} {answer['sent']}"


@pytest.mark.parametrize(("body", "said"), [(None, "GET "), ({"a": 1}, "POST {'a': 1}")])
def test_an_answer_is_printed_for_people(
    url: str, body: dict[str, int] | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert query("explain", options(url), "/good", render, body) == 0
    assert capsys.readouterr().out == f"{said}\n"


def test_a_program_gets_the_answer_as_it_came(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert query("explain", options(url, "--json"), "/good", render) == 0
    assert capsys.readouterr().out == '{\n  "method": "GET",\n  "sent": ""\n}\n'


@pytest.mark.parametrize(
    ("path", "said"),
    [("/bad", "No such thing."), ("/odd", "the gateway answered with status 500"), ("/html", "no gateway answers at")],
)
def test_what_went_wrong_is_said(url: str, path: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert query("replay", options(url), path, render) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"replay: {said}")
    assert KEY not in err
