"""`waystation serve`: the running gateway. Reads the config, listens, reloads on SIGHUP or a changed file, drains on
SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import uvloop

from proxy.api import admin_face, client_face
from proxy.app import Gateway, State, open_state
from proxy.cli.listener import Listener, max_connections
from proxy.cli.orders import Orders, drain
from proxy.cli.protocol import Limits
from proxy.cli.source import LastGood, Source, source_of
from proxy.cli.welcome import welcome
from proxy.cli.workers import CANNOT_START, MAX_WORKERS, Workers
from proxy.config import Address, Config, ConfigFaults, changes, shared_by
from proxy.observe import CallLog, Crew, DirectWriter, LineWriter, LoopLag, Metrics, choose_format, configure_logging
from proxy.state import StateUnusable

#: How long to wait before watching the config's directory is tried again, in seconds.
_WATCH_AGAIN_S = 5.0

_logger = logging.getLogger(__name__)


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("serve", help="run the gateway", description="Run the gateway.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--config", type=Path, metavar="FILE", help="serve this config (default: the embedded demo)")
    which.add_argument(
        "--demo", action="store_true", help="serve the embedded default: simulated providers, no key needed"
    )
    parser.add_argument("--port", type=int, help="listen on this port instead of server.listen's")
    parser.add_argument(
        "--workers", type=_workers, metavar="N", help="serve with N processes instead of server.workers"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop; 0 after a clean stop, 1 if it could not start."""
    source = source_of(args.config)
    try:
        good = LastGood(source)
        workers = count_workers(good.loaded.config, args.workers)
        listening = bind(good.loaded.config, args.port)
    except (ConfigFaults, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"waystation: {error}. Is another server running there? Choose another address: --port or server.listen "
            "for clients, server.admin_listen (in the default config, WAYSTATION_ADMIN_LISTEN) for operators.",
            file=sys.stderr,
        )
        return 1
    if workers > 1:
        return serve_with_workers(source, good, listening, partial(count_workers, override=args.workers), open_state)
    config = good.loaded.config
    configure_logging(DirectWriter(2), choose_format(config.server.log.format))  # what opening the state has to say
    try:
        state = open_state(config)
    except StateUnusable as error:
        print(f"waystation: {error}", file=sys.stderr)
        return 1
    with closing(state):
        uvloop.run(_serve(good.source(), config, listening, state, None))
    return 0


def count_workers(config: Config, override: int | None) -> int:
    """How many processes serve. Raises ValueError, with what to do, if they could not share the state."""
    workers = config.server.workers if override is None else override
    fault = shared_by(workers, config.state.url)
    if fault is not None:
        raise ValueError(f"waystation: {workers} workers: {fault.message} ({fault.hint})")
    return workers


def serve_with_workers(
    source: Source,
    good: LastGood,
    listening: list[socket.socket],
    count: Callable[[Config], int],
    open_a_state: Callable[[Config, int], State],
) -> int:
    """Serve with several processes; gives the exit code. `open_a_state`: what each worker keeps its state in."""
    configure_logging(DirectWriter(2), choose_format(good.loaded.config.server.log.format))

    def work(crew: Crew) -> int:
        config = good.loaded.config
        configure_logging(DirectWriter(2), choose_format(config.server.log.format), crew.slot)
        try:
            state = open_a_state(config, crew.slot)
        except StateUnusable as error:
            _logger.error("%s", error)
            return CANNOT_START
        with closing(state):
            uvloop.run(_serve(good.source(), config, listening, state, crew))
        return 0

    def announce(workers: int) -> None:
        print(welcome(source, good.loaded.config, listening, workers), flush=True)

    return Workers(good, listening, count, work, announce).run()


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {MAX_WORKERS}")
    return int(text)


def bind(config: Config, port: int | None) -> list[socket.socket]:
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


async def _serve(source: Source, config: Config, sockets: list[socket.socket], state: State, crew: Crew | None) -> None:
    metrics = Metrics()
    writer = LineWriter(2, metrics.lines_dropped)
    log_format = choose_format(config.server.log.format)
    configure_logging(writer, log_format, None if crew is None else crew.slot)
    gateway = Gateway(source.load, metrics, CallLog(writer, log_format), state, crew)
    await gateway.start()
    listeners = _listeners(gateway, sockets, crew)
    lag = LoopLag(metrics, asyncio.get_running_loop())
    running = [asyncio.create_task(listener.run_until_stopped()) for listener in listeners]
    while not all(listener.started for listener in listeners):
        await asyncio.sleep(0.005)
    orders = Orders(gateway, listeners, partial(_reload, gateway))
    asides = [asyncio.create_task(_reload_on_change(gateway, source.path))]
    if crew is None:
        orders.take_signals()
        print(welcome(source, gateway.config, sockets), flush=True)
    # What lives as long as the process is of no interest to the collector, and young objects are plenty here.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    # How long a thread may keep the loop from going on: by default it is 5 ms, each time that the loop reads or writes.
    sys.setswitchinterval(0.001)
    if crew is not None:
        asides += _join(crew, gateway, metrics, orders, listeners[0])

    await orders.stop.wait()
    await drain(gateway, listeners[0], orders)
    # The operators' address goes last: the end of a drain is worth watching.
    for listener in listeners[1:]:
        listener.should_exit = listener.force_exit = True
    await asyncio.gather(*running)
    for task in asides:
        task.cancel()
    await asyncio.gather(*asides, *orders.reloads, return_exceptions=True)
    lag.stop()
    await gateway.aclose()
    if crew is not None:
        crew.publish_now(metrics)
    _logger.info("stopped")
    writer.close()


def _join(
    crew: Crew, gateway: Gateway, metrics: Metrics, orders: Orders, listener: Listener
) -> list[asyncio.Task[None]]:
    """Take a worker's place among its siblings; gives what is to be cancelled at its end."""
    orders.follow(crew)
    tasks = [
        asyncio.create_task(crew.beat(lambda: (len(gateway.exchanges), listener.connections), orders.reload)),
        asyncio.create_task(crew.publish(metrics)),
    ]
    for task in tasks:
        task.add_done_callback(_tell_of_end)
    crew.publish_now(metrics)
    crew.begin()
    return tasks


def _tell_of_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _logger.error("this worker tells the others no more how it fares", exc_info=error)


def _listeners(gateway: Gateway, sockets: list[socket.socket], crew: Crew | None) -> list[Listener]:
    server = gateway.config.server
    limits = Limits(
        server.header_timeout_s,
        server.body_timeout_s,
        server.client_write_timeout_s,
        max_connections(server.max_connections),
    )
    faces = [(client_face(gateway), crew), (admin_face(gateway, gateway), None)]
    return [Listener(face, sock, limits, crew) for (face, crew), sock in zip(faces, sockets, strict=False)]


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
