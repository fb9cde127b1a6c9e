"""Several real Redis servers together, for tests: one with a replica under sentinels, a cluster, one behind TLS."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.redis_server import RedisServer, free_port, running
from tests.server import wait_until

#: What the sentinels of these tests call their server.
SERVICE: Final = "main"
CERTIFIER: Final = shutil.which("openssl")
#: A node of a cluster listens for the others this far above its port.
_BUS: Final = 10_000
_SLOTS: Final = 16_384


class Sentinel(RedisServer):
    """Watches a server; after half a second of silence another is promoted, if so many sentinels agree."""

    def __init__(self, folder: Path, watched: RedisServer, quorum: int) -> None:
        super().__init__(folder)
        self._file = folder / f"sentinel-{self.port}.conf"
        settings = (
            "bind 127.0.0.1",
            f"port {self.port}",
            f'dir "{folder}"',
            f"sentinel monitor {SERVICE} 127.0.0.1 {watched.port} {quorum}",
            f"sentinel down-after-milliseconds {SERVICE} 500",
            f"sentinel failover-timeout {SERVICE} 3000",
        )
        self._file.write_text("\n".join(settings) + "\n")

    @property
    def arguments(self) -> tuple[str, ...]:
        """See RedisServer."""
        return (str(self._file), "--sentinel")

    def knows(self) -> tuple[int, int]:
        """How many replicas it knows, and how many other sentinels."""
        return len(self.ask("SENTINEL", "REPLICAS", SERVICE)), len(self.ask("SENTINEL", "SENTINELS", SERVICE))


class Watched:
    """A server and its replica, watched by sentinels."""

    def __init__(self, primary: RedisServer, replica: RedisServer, sentinels: Sequence[Sentinel]) -> None:
        self.primary = primary
        self.replica = replica
        self.sentinels = sentinels
        self.url = f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in sentinels)}/{SERVICE}/0"


class Cluster:
    """Primaries that share the keys."""

    def __init__(self, nodes: Sequence[RedisServer]) -> None:
        self.nodes = nodes
        self.url = f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in nodes)}"

    def join(self, share: int) -> None:
        """Make one of them, in which the first nodes have `share` slots each, as far as these go."""
        for at, node in enumerate(self.nodes):
            if slots := range(at * share, min((at + 1) * share, _SLOTS)):
                node.ask("CLUSTER", "ADDSLOTS", *slots)
            for other in self.nodes[:at]:
                node.ask("CLUSTER", "MEET", "127.0.0.1", other.port)
        wait_until(lambda: all(self._is_joined(node) for node in self.nodes), 30)

    def owner(self, slot: int) -> RedisServer:
        """Who has a slot, by the first node's word."""
        [port] = [port for first, last, port in _map(self.nodes[0]) if first <= slot <= last]
        return next(node for node in self.nodes if node.port == port)

    def give(self, slot: int, to: RedisServer) -> None:
        """From now on it has this slot, of which no key is left elsewhere."""
        for node in (to, *self.nodes):  # who gets it first, as that one would not give up what it has keys of
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", _id(to))

    def begin_to_give(self, slot: int, to: RedisServer) -> None:
        """Who had it answers ASK for keys that it does not have."""
        owner = self.owner(slot)
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(owner))
        owner.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(to))

    def stand_by(self, node: RedisServer, primary: RedisServer) -> None:
        """A node without slots takes over when this one ends."""
        node.ask("CLUSTER", "REPLICATE", _id(primary))
        wait_until(lambda: node.ask("INFO", "replication").get("master_link_status") == "up", 20)

    def _is_joined(self, node: RedisServer) -> bool:
        info = node.ask("CLUSTER", "INFO")
        is_ok = b"cluster_state:ok" in info and b"cluster_known_nodes:%d" % len(self.nodes) in info
        return is_ok and sum(last + 1 - first for first, last, _ in _map(node)) == _SLOTS


def _id(node: RedisServer) -> str:
    return str(node.ask("CLUSTER", "MYID"), "ascii")


def _map(node: RedisServer) -> list[tuple[int, int, int]]:
    """First slot, last slot, the owner's port."""
    return [(first, last, owner[1]) for first, last, owner, *_ in node.ask("CLUSTER", "SLOTS")]


@contextmanager
def watched_redis(folder: Path, sentinels: int = 3) -> Iterator[Watched]:
    """A server with a replica that is up to date, and sentinels that know each other."""
    with ExitStack() as stack:
        primary = stack.enter_context(running(RedisServer(folder, "--repl-diskless-sync-delay", "0")))
        replica = stack.enter_context(running(RedisServer(folder, "--replicaof", "127.0.0.1", str(primary.port))))
        wait_until(lambda: replica.ask("INFO", "replication")["master_link_status"] == "up", 20)
        quorum = sentinels // 2 + 1
        watching = [stack.enter_context(running(Sentinel(folder, primary, quorum))) for _ in range(sentinels)]
        wait_until(lambda: all(one.knows() == (1, sentinels - 1) for one in watching), 30)
        yield Watched(primary, replica, watching)


@contextmanager
def redis_cluster(folder: Path, nodes: int = 2, *, spare: int = 0) -> Iterator[Cluster]:
    """A cluster of so many nodes with an equal share each, and `spare` ones that have none yet."""
    with ExitStack() as stack:
        found = [stack.enter_context(running(_node(folder))) for _ in range(nodes + spare)]
        cluster = Cluster(found)
        cluster.join(-(-_SLOTS // nodes))
        yield cluster


def _node(folder: Path) -> RedisServer:
    port = next(port for port in iter(free_port, 0) if port + _BUS < 65_536)
    options = ("--cluster-enabled", "yes", "--cluster-config-file", f"nodes-{port}.conf")
    return RedisServer(folder, *options, "--cluster-node-timeout", "1000", port=port)


class Certificate:
    """One that proves 127.0.0.1, signed by itself."""

    def __init__(self, folder: Path) -> None:
        assert CERTIFIER is not None
        self.file, self._key = folder / "certificate.pem", folder / "key.pem"
        command = [CERTIFIER, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(self._key), "-out", str(self.file)]
        subprocess.run(command, check=True, capture_output=True)

    @property
    def context(self) -> ssl.SSLContext:
        """What a server proves itself by."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self._key)
        return context


@asynccontextmanager
async def behind_tls(server: RedisServer, certificate: Certificate) -> AsyncIterator[int]:
    """The port at which this server is reached over TLS: the servers of these tests know none."""

    writers: list[asyncio.StreamWriter] = []
    tasks: list[asyncio.Task[None] | None] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(pass_on(reader, inner_writer), pass_on(inner_reader, writer))

    relay = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=certificate.context)
    async with relay:
        try:
            yield int(relay.sockets[0].getsockname()[1])
        finally:
            for writer in writers:
                writer.transport.abort()
            await asyncio.gather(*(task for task in tasks if task is not None))
            await asyncio.sleep(0.01)  # for the sockets under TLS to be let go
