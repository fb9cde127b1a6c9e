from pathlib import Path

import pytest

from benchmarks import settling


async def test_the_accounting_of_a_call_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "_CALLS", 20)
    monkeypatch.setattr(settling, "_ROUNDS", 2)
    found = await settling.measure(tmp_path)
    assert list(found) == ["no quotas", "two quotas"]
    assert all(us > 0 for us in found.values())
    assert (tmp_path / "journal").is_dir()
