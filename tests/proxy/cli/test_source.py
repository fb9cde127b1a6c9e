import os
from pathlib import Path

import pytest

from proxy.cli.source import LastGood, source_of
from proxy.config import ConfigFaults

CONFIG = """
version: 1
providers: {demo: {kind: demo}}
models: {MODEL: {targets: [{provider: demo, model: demo-1}]}}
teams: {t: {keys: [{name: k, key: sk-way-0123456789abcdef}]}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "waystation.yaml"
    path.write_text(CONFIG.replace("MODEL", "first"))
    return path


def change(path: Path, text: str) -> None:
    """Write it, at a time of its own: the clock of a file system is coarse."""
    path.write_text(text)
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))


def test_a_file_is_loaded_as_it_stands(path: Path) -> None:
    source = source_of(path)
    assert list(source.load().config.models) == ["first"]
    assert (source.path, source.client_key, source.found) == (path, None, {})


def test_without_a_file_the_embedded_default_is_served_with_a_key_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYSTATION_KEY", raising=False)
    source = source_of(None)
    assert source.client_key is not None
    assert source.client_key.startswith("sk-way-")
    assert source.load().config.models


def test_the_last_good_config_follows_the_file(path: Path) -> None:
    good = LastGood(source_of(path))
    assert good.refresh() is None
    change(path, CONFIG.replace("MODEL", "second"))
    assert good.refresh() is None
    assert list(good.loaded.config.models) == ["second"]


def test_a_mistake_is_told_once_and_changes_nothing(path: Path) -> None:
    good = LastGood(source_of(path))
    change(path, "version: 7\n")
    assert isinstance(good.refresh(), ConfigFaults)
    assert good.refresh() is None
    assert list(good.loaded.config.models) == ["first"]
    with pytest.raises(ConfigFaults):
        good.reload()


def test_a_file_that_has_vanished_changes_nothing(path: Path) -> None:
    good = LastGood(source_of(path))
    path.unlink()
    assert isinstance(good.refresh(), ConfigFaults)
    assert list(good.loaded.config.models) == ["first"]


def test_a_worker_begins_with_the_last_good_config_and_reloads_the_file(path: Path) -> None:
    good = LastGood(source_of(path))
    change(path, CONFIG.replace("MODEL", "second"))
    source = good.source()
    assert list(source.load().config.models) == ["first"]
    assert list(source.load().config.models) == ["second"]


def test_a_first_config_that_does_not_hold_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigFaults):
        LastGood(source_of(tmp_path / "missing.yaml"))
