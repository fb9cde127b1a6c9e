from proxy.config.faults import Fault, Finding
from proxy.config.places import Places


def places() -> Places:
    made = Places("my.yaml")
    made.values.update({(): (1, 1), ("models",): (2, 9), ("models", "chat"): (3, 9), ("models", "chat", "x"): (4, 8)})
    made.keys.update({("models",): (2, 1), ("models", "chat"): (3, 3), ("models", "chat", "x"): (4, 5)})
    return made


def test_a_fault_stands_at_its_value_or_at_its_key() -> None:
    assert places().place_of(("models", "chat", "x")) == (4, 8)
    assert places().place_of(("models", "chat", "x"), at_key=True) == (4, 5)


def test_what_is_not_in_the_file_stands_at_the_key_around_it() -> None:
    assert places().place_of(("models", "chat", "targets", 0, "provider")) == (3, 3)
    assert places().place_of(("teams",)) == (1, 1)
    assert Places("empty.yaml").place_of(("teams",)) == (1, 1)


def test_of_a_settled_place_nothing_more_is_said() -> None:
    found = places()
    found.fault((4, 8), ("models", "chat", "x"), "not set", settles=True)
    found.fault((4, 8), ("models", "chat", "x"), "too short")
    found.report(Finding(("models", "chat", "x"), "expected text"))
    assert [fault.message for fault in found.faults()] == ["not set"]


def test_faults_are_sorted_and_told_once() -> None:
    found = places()
    for message in ("late", "late"):
        found.report(Finding(("models", "chat", "x"), message))
    found.report(Finding(("models",), "early", "do this", at_key=True, named=()))
    assert found.faults() == [
        Fault("my.yaml", 2, 1, "", "early", "do this"),
        Fault("my.yaml", 4, 8, "models.chat.x", "late"),
    ]


def test_what_was_detected_says_where_it_comes_from() -> None:
    found = places()
    found.added = {("providers", "openai")}
    found.report(Finding(("providers", "openai", "api_key"), "expected text"))
    found.report(Finding(("providers", "mine", "api_key"), "expected text"))
    hints = {fault.path: fault.hint for fault in found.faults()}
    assert hints == {"providers.openai.api_key": "it was found in the environment", "providers.mine.api_key": ""}


def test_a_warning_has_its_place_and_is_no_fault() -> None:
    found = places()
    warning = found.warning(Finding(("models", "chat"), "idle", is_warning=True, at_key=True))
    assert warning == Fault("my.yaml", 3, 3, "models.chat", "idle")
    assert found.faults() == []
