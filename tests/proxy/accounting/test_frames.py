from hypothesis import given
from hypothesis import strategies as st

from proxy.accounting.frames import frame, read_frames

payloads = st.lists(st.binary(max_size=60), max_size=6)


@given(payloads)
def test_what_is_framed_is_read(written: list[bytes]) -> None:
    data = b"".join(map(frame, written))
    assert read_frames(data) == (written, len(data), 0)


@given(payloads, st.binary(max_size=60))
def test_a_torn_last_record_is_skipped_wherever_it_is_cut(whole: list[bytes], last: bytes) -> None:
    data, torn = b"".join(map(frame, whole)), frame(last)
    for cut in range(len(torn)):
        assert read_frames(data + torn[:cut]) == (whole, len(data), 0)


@given(payloads, st.binary(max_size=40), payloads.filter(bool))
def test_reading_goes_on_behind_what_is_damaged(before: list[bytes], rubbish: bytes, after: list[bytes]) -> None:
    begin, end = b"".join(map(frame, before)), b"".join(map(frame, after))
    found = read_frames(begin + rubbish + end)
    assert found == (before + after, len(begin) + len(rubbish) + len(end), len(rubbish))


def test_any_flipped_byte_costs_one_record_only() -> None:
    data = frame(b"first") + frame(b"second") + frame(b"third")
    begin, end = len(frame(b"first")), len(frame(b"first") + frame(b"second"))
    for at in range(begin, end):
        bad = bytearray(data)
        bad[at] ^= 0x40
        assert read_frames(bytes(bad)) == ([b"first", b"third"], len(data), end - begin), at


def test_zeros_at_the_end_are_no_records() -> None:
    data = frame(b"one")
    assert read_frames(data + bytes(4096)) == ([b"one"], len(data), 0)


def test_reading_begins_where_it_is_told() -> None:
    data = frame(b"one") + frame(b"two")
    assert read_frames(data, len(frame(b"one"))).payloads == [b"two"]
