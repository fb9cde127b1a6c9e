from benchmarks.semantic.words import common_words


def test_words_are_as_rare_as_their_rank_says() -> None:
    pieces = (
        [b"!"] * 500
        + [b" time", b" Time", b"ing", "时间".encode(), b"\xff", b" mortgages"]
        + [b"?"] * 5000
        + [b" zebra"]
    )
    found = common_words(pieces)
    assert set(found) == {"time", "时间", "mortgag", "zebra"}
    assert found["time"] < found["zebra"]
