from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.accounting import reader as module
from proxy.accounting.frames import frame
from proxy.accounting.reader import Reader
from proxy.state import Position, encode_entry
from tests.books import WrittenJournal, settlement


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[WrittenJournal]:
    journal = WrittenJournal(tmp_path / "journal")
    yield journal
    journal.die()


def entry(call_id: str) -> bytes:
    return encode_entry(settlement(call_id))


def test_a_segment_that_grows_is_followed(journal: WrittenJournal) -> None:
    reader = Reader(journal.segments)
    journal.write(settlement("a"))
    (first,) = reader.follow(journal.position)
    assert first == ([entry("a")], journal.position, False)
    assert list(reader.follow(journal.position)) == []
    journal.write(settlement("b"), settlement("c"))
    (second,) = reader.follow(journal.position)
    assert second == ([entry("b"), entry("c")], journal.position, False)


def test_whoever_fails_over_a_stretch_gets_it_again(journal: WrittenJournal) -> None:
    reader = Reader(journal.segments)
    journal.write(settlement("a"))
    assert next(reader.follow(journal.position)).payloads == [entry("a")]
    assert next(reader.follow(journal.position)).payloads == [entry("a")]


def test_segments_are_finished_once_and_removed_when_they_are_ripe(journal: WrittenJournal) -> None:
    reader = Reader(journal.segments)
    for call_id in ("a", "b"):
        journal.write(settlement(call_id))
        journal.rotate()
    names = journal.segments.names()
    assert [one.payloads for one in reader.finish(names)] == [[entry("a")], [entry("b")]]
    assert list(reader.finish(names)) == []
    reader.remove_ripe()
    assert journal.segments.names() == names
    reader.remove_ripe()
    assert journal.segments.names() == []
    reader.remove_ripe()


def test_what_lies_before_a_known_position_is_marked(journal: WrittenJournal) -> None:
    journal.write(settlement("a"))
    journal.rotate()
    journal.write(settlement("b"))
    known = journal.position
    journal.write(settlement("c"))
    journal.rotate()
    journal.write(settlement("d"))
    found = list(Reader(journal.segments).finish(journal.segments.names(), known))
    assert [(one.payloads, one.is_known) for one in found] == [
        ([entry("a")], True),
        ([entry("b")], True),
        ([entry("c")], False),
        ([entry("d")], False),
    ]


def test_a_torn_end_is_counted_and_damage_sets_a_segment_aside(journal: WrittenJournal, tmp_path: Path) -> None:
    reader = Reader(journal.segments)
    journal.write(settlement("a"))
    journal.tear(b"rubbish")
    journal.tear(frame(entry("b")))
    journal.tear(b"torn")
    (name,) = journal.segments.names()
    assert [one.payloads for one in reader.finish([name])] == [[entry("a"), entry("b")]]
    assert (reader.damaged_bytes, reader.torn_bytes) == (7, 4)
    reader.remove_ripe()
    reader.remove_ripe()
    assert journal.segments.names() == []
    assert (tmp_path / "journal" / f"{name}.damaged").exists()


def test_large_segments_are_read_piece_by_piece(journal: WrittenJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ_BYTES", 1000)
    journal.write(*(settlement(str(number)) for number in range(20)))
    found = list(Reader(journal.segments).follow(journal.position))
    assert [payload for one in found for payload in one.payloads] == [entry(str(number)) for number in range(20)]
    assert len(found) > 3
    assert found[-1].end == journal.position
    assert Position(*found[0].end).offset <= 1000
