from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from proxy.cache.file_level import FileLevel
from proxy.cache.opened_level import open_shared
from proxy.cache.redis_level import RedisLevel
from proxy.config import Config
from proxy.config.load import load_text
from proxy.state.redis_link import Link
from tests.redis_server import free_port, redis_server


def config(state: str) -> Config:
    return load_text(f"version: 1\nstate: {{{state}}}\n", {}, "g.yaml").config


async def test_beside_a_file_it_is_a_file(tmp_path: Path) -> None:
    level = open_shared(config(f'url: "sqlite:///{tmp_path}/books.db"'))
    assert isinstance(level, FileLevel)
    await level.aclose()


async def test_in_the_state_s_redis_it_goes_over_its_link(tmp_path: Path) -> None:
    link = cast(Link, object())
    level = open_shared(config(f'url: "sqlite:///{tmp_path}/books.db"'), link)
    assert isinstance(level, RedisLevel)
    await level.aclose()


@pytest.mark.integration
async def test_a_redis_of_its_own_is_asked_wherever_the_state_is(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        level = open_shared(config(f'url: "sqlite:///{tmp_path}/books.db", cache_url: "{server.url}", timeout: 5s'))
        assert isinstance(level, RedisLevel)
        assert await level.find_note("nothing") is None
        level.note("name", b"data")
        await level.aclose()
        with server.client as client:
            assert client.get("{waystation}:cache:note:name") == b"data"


async def test_one_that_is_away_at_the_start_is_done_without() -> None:
    level = open_shared(config(f'cache_url: "redis://127.0.0.1:{free_port()}/0"'))
    assert level is not None
    await asyncio.sleep(0)
    assert await level.find("search", b"k" * 32) is None
    assert level.stats.is_failing
    await level.aclose()
