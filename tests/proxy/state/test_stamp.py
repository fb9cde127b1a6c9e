import os
from pathlib import Path

import pytest

from proxy.state.stamp import Stamp


def announce(stamp: Stamp, number: int) -> None:
    with stamp.announcing(number):
        pass


def test_a_change_is_seen_by_whoever_looks_at_the_same_database(tmp_path: Path) -> None:
    writer, reader = Stamp(tmp_path / "a.db"), Stamp(tmp_path / "a.db")
    assert reader.look() is None
    announce(writer, 1)
    first = reader.look()
    assert first is not None
    assert reader.look() == first
    announce(writer, 2)
    assert reader.look() != first


def test_a_clock_that_stands_still_and_a_used_inode_hide_nothing(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / "a.db")
    seen = set()
    for number in range(1, 20):
        announce(stamp, number)
        os.utime(stamp.path, ns=(0, 0))
        look = stamp.look()
        assert look is not None
        seen.add((look[0], look[1]))  # whatever its inode
    assert len(seen) == 19


def test_nothing_is_announced_of_what_failed(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / "a.db")
    announce(stamp, 1)
    before = stamp.look()
    with pytest.raises(ZeroDivisionError), stamp.announcing(2):
        raise ZeroDivisionError
    assert stamp.look() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.db-keys"]


def test_what_cannot_be_announced_is_not_done(tmp_path: Path) -> None:
    stamp, done = Stamp(tmp_path / "missing" / "a.db"), []
    with pytest.raises(FileNotFoundError), stamp.announcing(1):
        done.append(1)
    assert done == []


def test_only_the_gateways_own_user_may_write_it(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / "a.db")
    announce(stamp, 1)
    assert os.stat(stamp.path).st_mode & 0o777 == 0o600
