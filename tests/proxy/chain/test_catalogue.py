import pytest

from proxy.call import Principal
from proxy.chain.catalogue import Catalogue, Model
from proxy.errors import ModelNotAllowed, ModelNotFound
from tests.calls import PATIENCE

CATALOGUE = Catalogue(
    [Model("chat", ("gpt-4o-mini", "default"), PATIENCE, 3.0, ()), Model("large", (), PATIENCE, 15.0, ())]
)
EVERYTHING = Principal("ops", "k", None)
ONLY_CHAT = Principal("search", "k", frozenset({"chat"}))


@pytest.mark.parametrize("name", ["chat", "gpt-4o-mini", "default"])
def test_a_model_answers_to_its_name_and_its_aliases(name: str) -> None:
    assert CATALOGUE.resolve(name, ONLY_CHAT).name == "chat"


def test_a_model_outside_the_teams_list_is_refused() -> None:
    with pytest.raises(ModelNotAllowed):
        CATALOGUE.resolve("large", ONLY_CHAT)
    assert CATALOGUE.resolve("large", EVERYTHING).name == "large"


def test_an_unknown_model_is_named_but_not_at_any_length() -> None:
    with pytest.raises(ModelNotFound) as caught:
        CATALOGUE.resolve("x" * 10_000, EVERYTHING)
    assert caught.value.param == "model"
    assert len(caught.value.message) < 500


def test_callers_see_what_they_may_use() -> None:
    assert CATALOGUE.visible_to(ONLY_CHAT) == ["chat", "gpt-4o-mini", "default"]
    assert CATALOGUE.visible_to(EVERYTHING) == ["chat", "gpt-4o-mini", "default", "large"]


def test_silence_is_committed_as_the_model_says_and_by_default_for_an_unknown_one() -> None:
    assert CATALOGUE.commit_after_s("default") == 3.0
    assert CATALOGUE.commit_after_s("nonsense") == 15.0
