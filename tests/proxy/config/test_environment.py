import pytest

from proxy.config.environment import environment


def test_it_is_a_copy_of_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYSTATION_KEY", "sk-way-0123456789")
    taken = environment()
    assert taken["WAYSTATION_KEY"] == "sk-way-0123456789"
    taken["WAYSTATION_KEY"] = "other"
    assert environment()["WAYSTATION_KEY"] == "sk-way-0123456789"
