"""A provider that answers at once, so that all that is measured is the gateway before it.

A process of its own on blocking sockets, one epoll loop: uvloop would join the writes of a loop turn into one, and
here each event must be its own write, as a provider sends them.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from typing import Final

CONTENT_EVENTS: Final = 20

#: A gateway that stops reading must not stop the others; an answer is far smaller than a socket's buffer.
_SEND_TIMEOUT: Final = struct.pack("ll", 5, 0)
_META: Final = b'"id":"chatcmpl-bench","created":1767225600,"model":"chat"'
_USAGE: Final = b'"usage":{"prompt_tokens":31,"completion_tokens":20,"total_tokens":51}'
_TEXT: Final = b"Paris has about two million people." * 3
_BODY: Final = (
    b'{"object":"chat.completion",%b,"choices":[{"index":0,"message":{"role":"assistant","content":"%b",'
    b'"refusal":null},"logprobs":null,"finish_reason":"stop"}],%b}' % (_META, _TEXT, _USAGE)
)


def _event(rest: bytes) -> bytes:
    return b'data: {"object":"chat.completion.chunk",%b,%b}\n\n' % (_META, rest)


def stream_events() -> list[bytes]:
    """The events of a streamed answer: the content, the finish reason, the usage, `[DONE]`."""
    content = b'"choices":[{"index":0,"delta":{%b"content":" word%02d"},"logprobs":null,"finish_reason":null}]'
    role = b'"role":"assistant",'
    finish = b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]'
    return [
        *(_event(content % (b"" if at else role, at)) for at in range(CONTENT_EVENTS)),
        _event(finish),
        _event(b'"choices":[],' + _USAGE),
        b"data: [DONE]\n\n",
    ]


def json_writes() -> list[bytes]:
    """What is written for a request without `stream`."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return [head % len(_BODY) + _BODY]


def stream_writes() -> list[bytes]:
    """What is written for a request with `stream`: head, a chunk an event, the end, each a write."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head, *(b"%x\r\n%b\r\n" % (len(event), event) for event in stream_events()), b"0\r\n\r\n"]


def take_request(received: bytes) -> tuple[int, bool] | None:
    """The length of the first request, and whether it asks for a stream; None while it is incomplete.

    Requests with a chunked body are not understood: they count as ones without.
    """
    head, blank, rest = received.partition(b"\r\n\r\n")
    if not blank:
        return None
    _, _, after = head.lower().partition(b"\r\ncontent-length:")
    body_bytes = int(after.partition(b"\r\n")[0] or b"0")
    if len(rest) < body_bytes:
        return None
    body = rest[:body_bytes]
    return len(head) + 4 + body_bytes, b'"stream":true' in body or b'"stream": true' in body


class _Peer:
    """One connection of a gateway."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_TIMEOUT)
        self.sock = sock
        self.received = b""


def serve(listener: socket.socket) -> None:
    """Answer every request on this listening socket, for ever."""
    json, stream = json_writes(), stream_writes()
    peers: dict[int, _Peer] = {}
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    while True:
        for number, _ in poll.poll():
            peer = peers.get(number)
            if peer is None:
                accepted, _ = listener.accept()
                peers[accepted.fileno()] = _Peer(accepted)
                poll.register(accepted, select.EPOLLIN)
                continue
            try:
                alive = _answer(peer, json, stream)
            except OSError:
                alive = False
            if not alive:
                del peers[number]
                peer.sock.close()


def _answer(peer: _Peer, json: list[bytes], stream: list[bytes]) -> bool:
    data = peer.sock.recv(65536)
    peer.received = peer.received + data if peer.received else data
    while (taken := take_request(peer.received)) is not None:
        length, is_stream = taken
        peer.received = peer.received[length:]
        for write in stream if is_stream else json:
            peer.sock.sendall(write)
    return bool(data)


if __name__ == "__main__":
    serve(socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024))
