"""A server that says one thing."""

import socket
import threading


def answering(answer: bytes) -> int:
    """The port of a listener on the loopback that answers all it reads on one connection with this."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as peer:
            while peer.recv(65536):
                peer.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])
