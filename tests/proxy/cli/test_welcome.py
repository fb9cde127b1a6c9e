import socket
from collections.abc import Iterator

import pytest

from proxy.cli.source import source_of
from proxy.cli.welcome import welcome


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    made = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    yield made
    for one in made:
        one.close()


def test_it_says_where_the_server_is_and_how_to_ask_it(sockets: list[socket.socket]) -> None:
    source = source_of(None)
    text = welcome(source, source.load().config, sockets)
    port, admin_port = (one.getsockname()[1] for one in sockets)
    assert f"ready at http://127.0.0.1:{port}/v1" in text
    assert f"http://127.0.0.1:{admin_port}/metrics" in text
    assert source.client_key is not None
    assert text.count(source.client_key) == 3
    assert "workers" not in text


def test_an_address_of_every_interface_is_shown_as_one_that_can_be_asked() -> None:
    source = source_of(None)
    with socket.create_server(("0.0.0.0", 0)) as one:
        text = welcome(source, source.load().config, [one])
        assert f"http://127.0.0.1:{one.getsockname()[1]}/v1" in text
    assert "/metrics" not in text


def test_several_workers_are_mentioned(sockets: list[socket.socket]) -> None:
    source = source_of(None)
    assert "  workers        4\n" in welcome(source, source.load().config, sockets, 4)
