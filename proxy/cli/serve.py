"""`waystation serve`: the running gateway. Reads the config, listens, reloads on SIGHUP or a changed file, drains on
SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import uvloop

from proxy.accounting import PriceTable
from proxy.api import admin_face, client_face
from proxy.app import Gateway, State, open_state
from proxy.cli.listener import Limits, Listener, max_connections
from proxy.config import (
    Address,
    Config,
    ConfigFaults,
    Loaded,
    changes,
    default_config_path,
    detected,
    environment,
    load,
    load_default,
)
from proxy.observe import CallLog, LineWriter, LoopLag, Metrics, choose_format, configure_logging
from proxy.state import StateUnusable

#: After the drain is over: how long the last error events and sockets get, in seconds.
_LAST_WORDS_S = 2.0
_POLL_S = 0.05
#: How long to wait before watching the config's directory is tried again, in seconds.
_WATCH_AGAIN_S = 5.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the config comes from, and what to print about it."""

    path: Path
    load: Callable[[], Loaded]
    client_key: str | None  #: the key of the embedded default; None for a config of the user's own
    found: Mapping[str, str]  #: providers added from the environment, and the variable that each was found by


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("serve", help="run the gateway", description="Run the gateway.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--config", type=Path, metavar="FILE", help="serve this config (default: the embedded demo)")
    which.add_argument(
        "--demo", action="store_true", help="serve the embedded default: simulated providers, no key needed"
    )
    parser.add_argument("--port", type=int, help="listen on this port instead of server.listen's")
    parser.add_argument("--workers", type=int, choices=[1], metavar="N", help="this version serves with one worker")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop; 0 after a clean stop, 1 if it could not start."""
    source = _source(args.config)
    try:
        config = source.load().config
    except ConfigFaults as error:
        print(error, file=sys.stderr)
        return 1
    try:
        listening = _bind(config, args.port)
    except OSError as error:
        print(
            f"waystation: {error}. Is another server running there? Choose another address: --port or server.listen "
            "for clients, server.admin_listen (in the default config, WAYSTATION_ADMIN_LISTEN) for operators.",
            file=sys.stderr,
        )
        return 1
    try:
        state = open_state(config)
    except StateUnusable as error:
        print(f"waystation: {error}", file=sys.stderr)
        return 1
    with closing(state):
        uvloop.run(_serve(source, listening, state))
    return 0


def _source(path: Path | None) -> Source:
    table = PriceTable()
    if path is not None:
        return Source(path, lambda: load(path, environment(), has_price=_known_now(table)), None, {})
    environ = environment()
    key = environ.get("WAYSTATION_KEY") or f"sk-way-{secrets.token_urlsafe(24)}"
    found = detected(environ).found

    def load_embedded() -> Loaded:
        return load_default({**environment(), "WAYSTATION_KEY": key}, _known_now(table))

    return Source(default_config_path(), load_embedded, key, found)


def _known_now(table: PriceTable) -> Callable[[Mapping[str, object], str], bool]:
    return partial(table.knows, at=datetime.now(UTC))


def _bind(config: Config, port: int | None) -> list[socket.socket]:
    """Open the listening sockets: the clients', then the operators' if there is one. Raises OSError naming the
    address.
    """
    listen = config.server.listen
    addresses = [Address(listen.host, listen.port if port is None else port)]
    if config.server.admin_listen is not None:
        addresses.append(config.server.admin_listen)
    sockets = []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        try:
            sockets.append(socket.create_server((address.host, address.port), family=family, backlog=2048))
        except OSError as error:
            raise OSError(f"cannot listen on {address}: {error.strerror}") from error
    return sockets


async def _serve(source: Source, sockets: list[socket.socket], state: State) -> None:
    metrics = Metrics()
    writer = LineWriter(2, metrics.lines_dropped)
    log_format = choose_format(source.load().config.server.log.format)
    configure_logging(writer, log_format)
    gateway = Gateway(source.load, metrics, CallLog(writer, log_format), state)
    gateway.start()
    listeners = _listeners(gateway, sockets)
    lag = LoopLag(metrics, asyncio.get_running_loop())
    running = [asyncio.create_task(listener.run_until_stopped()) for listener in listeners]
    while not all(listener.started for listener in listeners):
        await asyncio.sleep(0.005)
    orders = _Orders(gateway)
    reloader = asyncio.create_task(_reload_on_change(gateway, source.path))
    _print_welcome(source, gateway, sockets)
    # What lives as long as the process is of no interest to the collector, and young objects are plenty here.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    # How long a thread may keep the loop from going on: by default it is 5 ms, each time that the loop reads or writes.
    sys.setswitchinterval(0.001)

    await orders.stop.wait()
    await _drain(gateway, listeners[0], orders.hurry)
    # The operators' address goes last: the end of a drain is worth watching.
    for listener in listeners[1:]:
        listener.should_exit = listener.force_exit = True
    await asyncio.gather(*running)
    reloader.cancel()
    await asyncio.gather(reloader, *orders.reloads, return_exceptions=True)
    lag.stop()
    await gateway.aclose()
    _logger.info("stopped")
    writer.close()


class _Orders:
    """What signals tell a running gateway to do."""

    def __init__(self, gateway: Gateway) -> None:
        self.stop = asyncio.Event()  #: stop listening and drain
        self.hurry = asyncio.Event()  #: stop waiting for calls in flight
        self.reloads: set[asyncio.Task[None]] = set()
        self._gateway = gateway
        loop = asyncio.get_running_loop()
        # Somebody at the terminal wants it to stop; an orchestrator must first be seen to send no more.
        loop.add_signal_handler(signal.SIGINT, lambda: self._on_stop(0.0))
        loop.add_signal_handler(signal.SIGTERM, lambda: self._on_stop(gateway.config.server.drain_delay_s))
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    def _on_stop(self, delay_s: float) -> None:
        if self._gateway.draining:  # asked twice: no more patience
            self.stop.set()
            self.hurry.set()
        self._gateway.draining = True
        asyncio.get_running_loop().call_later(delay_s, self.stop.set)

    def _on_hangup(self) -> None:
        task = asyncio.create_task(_reload(self._gateway))
        self.reloads.add(task)
        task.add_done_callback(self.reloads.discard)


def _listeners(gateway: Gateway, sockets: list[socket.socket]) -> list[Listener]:
    server = gateway.config.server
    limits = Limits(
        server.header_timeout_s,
        server.body_timeout_s,
        server.client_write_timeout_s,
        max_connections(server.max_connections),
    )
    faces = [client_face(gateway), admin_face(gateway, gateway)]
    return [Listener(face, sock, limits) for face, sock in zip(faces, sockets, strict=False)]


async def _drain(gateway: Gateway, listener: Listener, forced: asyncio.Event) -> None:
    """Take no more calls, let those in flight finish, and end the rest with an error they can retry on."""
    drain_s = gateway.config.server.drain_s
    _logger.info("draining: %d calls in flight, for at most %g s", len(gateway.exchanges), drain_s)
    listener.should_exit = True
    if not await _emptied(gateway, drain_s, forced):
        _logger.warning("drain is over: %d calls were ended", gateway.stop_exchanges())
        await _emptied(gateway, _LAST_WORDS_S, asyncio.Event())
    listener.force_exit = True


async def _emptied(gateway: Gateway, within_s: float, forced: asyncio.Event) -> bool:
    deadline = asyncio.get_running_loop().time() + within_s
    while gateway.exchanges:
        if asyncio.get_running_loop().time() >= deadline or forced.is_set():
            return False
        await asyncio.sleep(_POLL_S)
    return True


async def _reload_on_change(gateway: Gateway, path: Path) -> None:
    """Reload whenever the file changes, until cancelled; a directory that can't be watched is tried again."""
    while True:
        try:
            async for _ in changes(path):
                await _reload(gateway)
        except (OSError, RuntimeError) as error:
            _logger.error("the config's directory cannot be watched: %s; SIGHUP still reloads", type(error).__name__)
        await asyncio.sleep(_WATCH_AGAIN_S)
        await _reload(gateway)


async def _reload(gateway: Gateway) -> None:
    """Reload; a rejected config has been logged and counted by then."""
    try:
        await gateway.reload()
    except ConfigFaults:
        return
    except Exception as error:  # the second fence: a background loop goes on, on the old world
        _logger.exception("the config could not be taken, the old one stays in force", exc_info=error)


def _describe(provider: str, found: Mapping[str, str]) -> str:
    return f"{provider} ({found[provider]})" if provider in found else provider


def _print_welcome(source: Source, gateway: Gateway, sockets: list[socket.socket]) -> None:
    host, port = sockets[0].getsockname()[:2]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    base_url = f"http://{shown}:{port}/v1"
    key = source.client_key or "YOUR_KEY"
    model = next(iter(gateway.config.models), "MODEL")
    lines = [
        "",
        f"  Waystation is ready at {base_url}",
        f"  client key     {source.client_key or 'one of those under teams: in the config'}",
        f"  config         {source.path} (a change is live at once)",
        f"  providers      {', '.join(_describe(name, source.found) for name in gateway.config.providers)}",
    ]
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
    print("\n".join(lines), flush=True)
