"""A real Redis, one for all tests of this folder; each takes a namespace of its own."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from proxy.state.redis_keys import RedisKeys
from tests.redis_server import RedisServer, redis_server


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def keys() -> RedisKeys:
    return RedisKeys(f"t{uuid4().hex}")
