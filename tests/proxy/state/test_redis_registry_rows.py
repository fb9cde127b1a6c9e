from dataclasses import replace

from proxy.state import Grant, StoredKey
from proxy.state.redis_registry_rows import (
    grant_made,
    grant_withdrawn,
    key_entry,
    key_made,
    read_grant,
    read_grants,
    read_key,
)

KEY = StoredKey(7, bytes(range(32)), "sk-ws-a", "search", "ci", 1000, 5000, None, 3)
GRANT = Grant(5, "search", "usd per month", 10**18, "nusd", 10_000, 1000, "admin:ops", "the launch")


def test_a_key_is_read_as_it_was_written() -> None:
    name, field, row = key_entry(KEY)
    assert (name, field, read_key(row)) == ("keys", "7", KEY)


def test_a_new_secret_stands_with_the_others_of_its_name() -> None:
    entries = key_made([replace(KEY, id=3), replace(KEY, id=5)], KEY)
    assert entries[1:] == [("named", "search\nci", b"[3,5,7]"), ("last", "key", b"7")]


def test_a_grant_is_read_as_it_was_written_however_large() -> None:
    (_, _, row), (_, _, gone) = grant_withdrawn(GRANT)
    assert read_grant(row) == GRANT
    assert gone == b""
    assert [grant.id for grant in read_grants([row, row])] == [5, 5]


def test_grants_that_are_over_and_those_of_long_ago_make_room() -> None:
    over, lasting = replace(GRANT, id=2, until_ms=900), replace(GRANT, id=4)
    made = {(name, field): value for name, field, value in grant_made([over, lasting], replace(GRANT, id=1004))}
    assert made["granted", "2"] == b""
    assert made["grants", "2"] == b""
    assert ("granted", "4") not in made
    assert ("grants", "4") not in made  # in force for longer than a thousand others
    assert read_grant(made["granted", "1004"]).id == 1004
    assert made["last", "grant"] == b"1004"
