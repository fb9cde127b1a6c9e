import pytest

from proxy.state import ChangeRefused, Grant, StoredKey
from proxy.state.registry_rules import (
    check_blocked,
    check_grant,
    check_known,
    check_new_key,
    grant_text,
    latest_live,
    revocation_text,
    rotation_text,
)

OLD = StoredKey(1, b"d", "sk-ws-a", "search", "ci", 1000, expires_ms=5000)
NEW = StoredKey(2, b"e", "sk-ws-b", "search", "ci", 2000)
GRANT = Grant(3, "search", "usd per month", 5, "nusd", 10_000, 1000, "admin:ops")


def test_a_name_is_free_once_its_keys_are_over() -> None:
    with pytest.raises(ChangeRefused, match="has a key 'ci' already"):
        check_new_key([OLD], False, "search", "ci", 4999)
    check_new_key([OLD], False, "search", "ci", 5000)
    with pytest.raises(ChangeRefused, match="is blocked"):
        check_new_key([], True, "search", "ci", 5000)


def test_the_latest_secret_is_the_one_that_is_rotated() -> None:
    assert latest_live([OLD, NEW], "search", "ci", 4999) is NEW
    with pytest.raises(ChangeRefused, match="no live key"):
        latest_live([OLD], "search", "ci", 5000)


def test_what_is_not_there_is_not_changed() -> None:
    with pytest.raises(ChangeRefused, match="no key 'ci'"):
        check_known([], "search", "ci")
    with pytest.raises(ChangeRefused, match="is not blocked"):
        check_blocked(False, "search", "ci")
    with pytest.raises(ChangeRefused, match="no grant 3"):
        check_grant(None, 3, 0)
    with pytest.raises(ChangeRefused, match="over already"):
        check_grant(GRANT, 3, 10_000)
    assert check_grant(GRANT, 3, 9999) is GRANT


def test_the_audit_names_keys_by_their_beginnings() -> None:
    assert rotation_text(OLD, NEW, 60_000) == "sk-ws-a -> sk-ws-b, overlap 60 s"
    assert revocation_text([OLD, NEW]) == "sk-ws-a, sk-ws-b"
    assert grant_text(GRANT) == "grant 3: 5 nusd until 1970-01-01T00:00:10+00:00"
