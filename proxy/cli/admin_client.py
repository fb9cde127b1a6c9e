"""How a command asks a running gateway at its admin address, and what it says if nobody answers."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

_TIMEOUT_S: Final = 10.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that all such commands share: `--url` and `--json`."""
    parser.add_argument("--url", default="http://127.0.0.1:9090", help="the admin address (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the answer as it came")


def query(
    command: str,
    args: argparse.Namespace,
    path: str,
    render: Callable[[Mapping[str, Any]], str],
    body: Mapping[str, object] | None = None,
) -> int:
    """Ask for `path` (with a body: POST it) and print the answer; 0 if the gateway answered, 1 if not, 2 without a
    key.
    """
    key = os.environ.get("WAYSTATION_ADMIN_KEY")
    if not key:
        print(f"{command}: set WAYSTATION_ADMIN_KEY to a key of admin.keys in the config.", file=sys.stderr)
        return 2
    try:
        answer = _ask(f"{args.url.rstrip('/')}{path}", key, body)
    except HTTPError as error:
        print(f"{command}: {_reason(error)}", file=sys.stderr)
        return 1
    except (URLError, OSError, ValueError) as error:
        print(f"{command}: no gateway answers at {args.url}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer, indent=2) if args.json else render(answer))
    return 0


def _ask(url: str, key: str, body: Mapping[str, object] | None) -> Any:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = Request(url, None if body is None else json.dumps(body).encode(), headers)
    with build_opener(ProxyHandler({})).open(request, timeout=_TIMEOUT_S) as response:
        return json.load(response)


def _reason(error: HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the gateway answered with status {error.code}"
