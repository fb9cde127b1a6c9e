import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.accounting import segments as module
from proxy.accounting.segments import Appender, DiskSegment, SegmentFile, Segments
from proxy.state import Position, StateUnusable
from tests.books import Disk


class Journal:
    """An appender, and what it has let go of."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self.segments = Segments(folder)
        self.retired: list[SegmentFile] = []
        self.appender = Appender(self.segments, self.retired.append, disk if disk is not None else DiskSegment)

    def read(self) -> list[bytes]:
        return [self.segments.read(name, 0) for name in self.segments.names()]

    def close(self) -> None:
        self.appender.close()
        for file in self.retired:
            file.close()
        self.segments.release()


def test_segments_are_named_by_a_number_that_grows(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.appender.append(b"one")
    (first,) = journal.segments.names()
    assert first.startswith("0000000001-")
    assert journal.appender.position == Position(first, 3)
    journal.close()
    journal = Journal(tmp_path)
    journal.appender.append(b"two")
    assert journal.segments.names()[0] == first
    assert journal.segments.names()[1].startswith("0000000002-")
    assert journal.read() == [b"one", b"two"]
    journal.close()


def test_a_directory_has_one_owner_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "journal"
    segments = Segments(folder)
    with pytest.raises(StateUnusable, match=rf"process {os.getpid()}\).*set state\.journal"):
        Segments(folder)
    segments.release()
    Segments(folder).release()


def test_an_owner_that_was_killed_owns_nothing(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from proxy.accounting.segments import Segments; "
    code += "kept = Segments(Path(sys.argv[1])); print('mine', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"mine\n"
        with pytest.raises(StateUnusable, match=f"process {owner.pid}"):
            Segments(tmp_path)
        owner.kill()
    Segments(tmp_path).release()


def test_a_directory_has_an_id_of_its_own_for_good(tmp_path: Path) -> None:
    ids = []
    for name in ("a", "b", "a"):
        segments = Segments(tmp_path / name)
        ids.append(segments.id())
        assert segments.id() == ids[-1]
        segments.release()
    assert ids[0] == ids[2] != ids[1]
    assert Segments(tmp_path / "a").names() == []


def test_an_id_that_cannot_be_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "id").mkdir()
    with pytest.raises(StateUnusable, match="Make it writable"):
        Segments(tmp_path).id()


def test_a_directory_that_cannot_be_made_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnusable, match=r"set state\.journal to another one"):
        Segments(tmp_path / "file" / "journal")


def test_only_the_owner_may_read_what_is_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.appender.append(b"one")
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "journal" / journal.segments.names()[0]).stat().st_mode & 0o777 == 0o600
    journal.close()


def test_a_full_segment_is_retired_and_the_next_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 4)
    journal = Journal(tmp_path)
    files = [journal.appender.append(data) for data in (b"one", b"two", b"three")]
    assert journal.read() == [b"onetwo", b"three"]
    assert files[0] is files[1]
    assert journal.retired == [files[0]]
    journal.close()


def test_what_could_be_written_in_part_only_is_taken_back(tmp_path: Path) -> None:
    disk = Disk()
    journal = Journal(tmp_path, disk)
    journal.appender.append(b"one")
    disk.room_bytes = 2
    with pytest.raises(OSError, match="No space left"):
        journal.appender.append(b"two")
    assert journal.read() == [b"one"]
    disk.room_bytes = None
    journal.appender.append(b"two")
    assert journal.read() == [b"onetwo"]
    assert journal.appender.position.offset == 6
    journal.close()


def test_what_cannot_be_taken_back_is_left_behind_in_its_segment(tmp_path: Path) -> None:
    disk = Disk()
    journal = Journal(tmp_path, disk)
    journal.appender.append(b"one")
    disk.room_bytes, disk.can_truncate = 2, False
    with pytest.raises(OSError, match="Input/output error"):
        journal.appender.append(b"two")
    disk.room_bytes = None
    journal.appender.append(b"two")
    assert journal.read() == [b"onetw", b"two"]
    assert journal.appender.position == Position(journal.segments.names()[1], 3)
    journal.close()


def test_a_segment_that_cannot_be_created_is_tried_again(tmp_path: Path) -> None:
    disk = Disk()
    disk.room_bytes = 0
    journal = Journal(tmp_path, disk)
    with pytest.raises(OSError, match="No space left"):
        journal.appender.append(b"one")
    assert journal.appender.position == Position()
    disk.room_bytes = None
    journal.appender.append(b"one")
    assert journal.read() == [b"one"]
    journal.close()


def test_segments_are_removed_or_set_aside(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.appender.append(b"one")
    (name,) = journal.segments.names()
    journal.segments.drop(name, keep=True)
    assert journal.segments.names() == []
    assert (tmp_path / f"{name}.damaged").read_bytes() == b"one"
    journal.segments.drop(name)  # it is gone already
    journal.close()


def test_parts_of_a_segment_are_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.appender.append(b"0123456789")
    (name,) = journal.segments.names()
    assert journal.segments.read(name, 4) == b"456789"
    assert journal.segments.read(name, 4, 6) == b"45"
    journal.close()


def test_syncing_makes_the_name_last_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    segment = DiskSegment(tmp_path / "one")
    segment.sync()
    segment.sync()
    assert len(synced) == 1
    segment.close()
