from __future__ import annotations

import pytest

from proxy.cache.notices import read_notice, write_notice
from proxy.state import Meant

MEANT = Meant(team="search", model="chat", stored_before_ms=7)
KEYS = [b"\x01" * 32, b"\x02" * 32]


def test_what_one_writes_another_one_reads() -> None:
    assert read_notice(write_notice("a", MEANT, None, KEYS), "b") == (MEANT, None, KEYS)
    assert read_notice(write_notice("a", MEANT, KEYS[0], None), "b") == (MEANT, KEYS[0], None)


def test_one_s_own_word_is_no_news() -> None:
    assert read_notice(write_notice("a", MEANT, None, KEYS), "a") is None


def test_of_very_many_keys_none_is_named() -> None:
    keys = [number.to_bytes(32, "big") for number in range(1001)]
    assert read_notice(write_notice("a", MEANT, None, keys), "b") == (MEANT, None, None)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"origin":"a","meant":{"colour":"red"},"key":null,"keys":null}'])
def test_what_cannot_be_read_is_taken_for_everything(data: bytes) -> None:
    assert read_notice(data, "b") == (Meant(), None, None)
