from hashlib import sha1

import pytest

from proxy.state.scripts import load_script


@pytest.mark.parametrize("name", ["counters", "claims"])
def test_a_script_is_known_by_its_digest(name: str) -> None:
    script = load_script(name)
    assert script.digest == sha1(script.source).hexdigest().encode()


def test_an_included_part_stands_where_it_is_named() -> None:
    source = load_script("claims").source
    assert b"--#include" not in source
    assert source.count(b"local function count(") == 1


def test_a_script_without_flags_is_the_same_for_all_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script("counters")
    assert script.without_flags is script
    monkeypatch.setattr("proxy.state.scripts._read", lambda _: "#!lua flags=allow-oom\nreturn 1\n")
    flagged = load_script("x")
    assert flagged.source.startswith(b"#!lua")
    assert flagged.without_flags.source == b"return 1\n"
    assert flagged.without_flags.digest == sha1(b"return 1\n").hexdigest().encode()
    assert flagged.without_flags is flagged.without_flags
