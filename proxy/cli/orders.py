"""How a running gateway is told to stop, and how it goes: by signals, or by the orders of a parent that has several."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Final

from proxy.app import Gateway
from proxy.cli.listener import Listener
from proxy.observe import Crew

#: What a parent may write into the pipe of a worker. The pipe's end means that the parent is gone.
DRAIN: Final = b"t"  #: after `server.drain_delay`
DRAIN_NOW: Final = b"i"
LEAVE: Final = b"l"  #: to the siblings: take no more connections, and serve those that there are for that delay
HURRY: Final = b"h"  #: wait for no call

#: After the drain is over: how long the last error events and sockets get, in seconds.
_LAST_WORDS_S: Final = 2.0
_POLL_S: Final = 0.05
#: How long a connection on which nothing is asked is kept at the end of the delay, in seconds.
_LINGER_S: Final = 1.0
#: How long a worker that gets a signal waits for what its parent says of it, in seconds.
_ORDER_WITHIN_S: Final = 0.3

_logger = logging.getLogger(__name__)


class Orders:
    """What a running gateway was told to do."""

    def __init__(
        self, gateway: Gateway, listeners: Sequence[Listener], reload: Callable[[], Coroutine[None, None, None]]
    ) -> None:
        """`listeners`: the clients' first. Needs a running event loop."""
        self.stop = asyncio.Event()  #: stop listening and drain
        self.hurry = asyncio.Event()  #: stop waiting for calls in flight
        self.linger_s = 0.0  #: how long connections are kept on which nothing is asked just now
        self.reloads: set[asyncio.Task[None]] = set()
        self._gateway = gateway
        self._listeners = listeners
        self._reload = reload
        self._loop = asyncio.get_running_loop()

    def take_signals(self) -> None:
        """From now on signals say what to do."""
        # Somebody at the terminal wants it to stop; an orchestrator must first be seen to send no more.
        self._loop.add_signal_handler(signal.SIGINT, lambda: self._on_stop(0.0))
        self._loop.add_signal_handler(signal.SIGTERM, lambda: self._on_stop(self._gateway.config.server.drain_delay_s))
        self._loop.add_signal_handler(signal.SIGHUP, self.reload)

    def follow(self, crew: Crew) -> None:
        """From now on the parent says what to do; SIGTERM to this process alone makes room for another worker."""
        os.set_blocking(crew.orders, False)
        self._loop.add_reader(crew.orders, self._on_order, crew)
        # Service managers send it to every process of a group: then the parent's order comes in a moment.
        handle = partial(self._loop.call_later, _ORDER_WITHIN_S, self._begin, crew, LEAVE)
        self._loop.add_signal_handler(signal.SIGTERM, handle)

    def reload(self) -> None:
        """Read the config again, soon."""
        task = self._loop.create_task(self._reload())
        self.reloads.add(task)
        task.add_done_callback(self.reloads.discard)

    def _on_stop(self, delay_s: float) -> None:
        if self._gateway.draining:  # asked twice: no more patience
            self._hasten()
        self._go(delay_s)

    def _on_order(self, crew: Crew) -> None:
        orders = os.read(crew.orders, 64)
        if not orders:
            self._loop.remove_reader(crew.orders)
            _logger.error("the parent process is gone")
            self._begin(crew, DRAIN_NOW)
        for order in orders:
            self._begin(crew, bytes((order,)))

    def _begin(self, crew: Crew, order: bytes) -> None:
        """Asked twice for the same it does no more than once: a service manager signals every process of a group."""
        crew.leave()
        delay_s = self._gateway.config.server.drain_delay_s
        if order == HURRY:
            self._hasten()
        elif order == DRAIN_NOW:
            self._go(0.0)
        elif not self._gateway.draining:
            if order == LEAVE:
                self._listeners[0].stop_accepting()
                self._loop.call_later(_POLL_S, self._leave_if_alone)
            self._go(delay_s)

    def _leave_if_alone(self) -> None:
        """Nobody is connected any more: there is nothing to wait for."""
        if self._listeners[0].connections:
            self._loop.call_later(_POLL_S, self._leave_if_alone)
        else:
            self.stop.set()

    def _go(self, delay_s: float) -> None:
        self._gateway.draining = True
        self.linger_s = _LINGER_S if delay_s else 0.0
        for listener in self._listeners:
            listener.say_goodbye()
        self._loop.call_later(delay_s, self.stop.set)

    def _hasten(self) -> None:
        self.stop.set()
        self.hurry.set()


async def drain(gateway: Gateway, listener: Listener, orders: Orders) -> None:
    """Take no more calls, let those in flight finish, and end the rest with an error they can retry on."""
    drain_s, hurry = gateway.config.server.drain_s, orders.hurry
    # A balancer may be sending on a connection that looks idle from here: its call gets an answer, and the connection
    # ends with that.
    listener.stop_accepting()
    await _until(lambda: not listener.connections, orders.linger_s, hurry)
    _logger.info("draining: %d calls in flight, for at most %g s", len(gateway.exchanges), drain_s)
    listener.should_exit = True
    if not await _until(lambda: not gateway.exchanges, drain_s, hurry):
        _logger.warning("drain is over: %d calls were ended", gateway.stop_exchanges())
        await _until(lambda: not gateway.exchanges, _LAST_WORDS_S, None)
    # An answer's last bytes may still be under way to its client.
    await _until(lambda: not listener.connections, _LAST_WORDS_S, hurry)
    listener.force_exit = True


async def _until(is_true: Callable[[], bool], within_s: float, forced: asyncio.Event | None) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not is_true():
        if loop.time() >= deadline or (forced is not None and forced.is_set()):
            return False
        await asyncio.sleep(_POLL_S)
    return True
