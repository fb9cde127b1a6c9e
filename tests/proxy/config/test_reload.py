import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from proxy.config.reload import changes

pytestmark = pytest.mark.integration


class Watcher:
    """Counts the changes of a file while it is watched."""

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._task = asyncio.create_task(self._run(path))

    async def _run(self, path: Path) -> None:
        async for _ in changes(path):
            self.count += 1

    async def reaches(self, count: int) -> bool:
        for _ in range(100):
            if self.count >= count:
                return True
            await asyncio.sleep(0.05)
        return False

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def watch() -> AsyncIterator[Callable[[Path], Watcher]]:
    watchers: list[Watcher] = []

    def start(path: Path) -> Watcher:
        watchers.append(Watcher(path))
        return watchers[-1]

    yield start
    for watcher in watchers:
        await watcher.stop()


async def test_an_edit_a_replacement_and_a_return_are_seen(watch: Callable[[Path], Watcher], tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("one")
    watcher = watch(path)
    await asyncio.sleep(0.3)
    path.write_text("two")
    assert await watcher.reaches(1)
    (tmp_path / "new").write_text("three")
    (tmp_path / "new").rename(path)
    assert await watcher.reaches(2)
    path.unlink()
    await asyncio.sleep(0.4)
    path.write_text("four")
    assert await watcher.reaches(3)


async def test_the_same_content_again_and_other_files_are_no_change(
    watch: Callable[[Path], Watcher], tmp_path: Path
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("one")
    watcher = watch(path)
    await asyncio.sleep(0.3)
    path.write_text("one")
    (tmp_path / "other").write_text("x")
    await asyncio.sleep(0.4)
    path.unlink()
    await asyncio.sleep(0.4)
    path.write_text("one")
    await asyncio.sleep(0.4)
    assert watcher.count == 0


async def test_a_mounted_config_map_changes_by_its_link(watch: Callable[[Path], Watcher], tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "my.yaml").write_text(version)
    (tmp_path / "..data").symlink_to("v1")
    path = tmp_path / "my.yaml"
    path.symlink_to(Path("..data") / "my.yaml")
    watcher = watch(path)
    await asyncio.sleep(0.3)
    (tmp_path / "..tmp").symlink_to("v2")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    assert await watcher.reaches(1)


async def test_a_relative_path_is_watched_where_it_is(
    watch: Callable[[Path], Watcher], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("my.yaml")
    path.write_text("one")
    watcher = watch(path)
    await asyncio.sleep(0.3)
    path.write_text("two")
    assert await watcher.reaches(1)


async def test_a_folder_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises((OSError, RuntimeError)):
        await anext(aiter(changes(tmp_path / "none" / "my.yaml")))
