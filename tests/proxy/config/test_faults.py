import pytest

from proxy.config.faults import ConfigFaults, Fault, display_key, display_path, display_unknown_key, nearest, suggest


def test_a_fault_reads_file_line_column_path_message_and_hint() -> None:
    assert str(Fault("a.yaml", 3, 5, "models.chat", "unknown key 'x'", "did you mean 'y'?")) == (
        "a.yaml:3:5: models.chat: unknown key 'x' (did you mean 'y'?)"
    )
    assert str(Fault("a.yaml", 1, 1, "", "the file must hold a mapping")) == "a.yaml:1:1: the file must hold a mapping"


def test_faults_stand_in_the_order_of_the_file() -> None:
    late, early = Fault("a", 10, 1, "", "late"), Fault("a", 2, 9, "", "early")
    error = ConfigFaults([late, early])
    assert error.faults == (early, late)
    assert str(error) == "a:2:9: early\na:10:1: late"


def test_a_path_shows_indexes_in_brackets() -> None:
    assert display_path(("models", "chat", "targets", 0, "provider")) == "models.chat.targets[0].provider"


def test_a_key_is_shown_printable_and_short() -> None:
    assert display_key("a\x1b[31mb") == "a?[31mb"
    assert len(display_key("x" * 1000)) == 61


@pytest.mark.parametrize(
    ("key", "shown"),
    [("lisen", "lisen"), ("api_key:sk-secret", "api_key…"), ("${SECRET}", "…"), ("", ""), ("x" * 50, "x" * 40 + "…")],
)
def test_of_an_unknown_key_only_what_may_be_a_name_is_shown(key: str, shown: str) -> None:
    assert display_unknown_key(key) == shown


def test_nothing_near_is_nothing() -> None:
    assert nearest("opnai", ["openai", "azure"]) == "did you mean 'openai'?"
    assert nearest("zzz", ["openai"]) == ""
    assert nearest("x" * 1_000_000, ["openai"]) == ""


def test_the_nearest_name_is_suggested_else_what_is_known() -> None:
    assert suggest("modle", ["model", "provider"]) == "did you mean 'model'?"
    assert suggest("MODEL", ["model"]) == "did you mean 'model'?"
    assert suggest("zzz", ["model", "provider"]) == "known: model, provider"
    assert suggest("zzz", []) == ""
