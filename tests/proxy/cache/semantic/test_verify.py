from pathlib import Path

import numpy as np
import orjson
import pytest

from proxy.cache.semantic import verify
from proxy.cache.semantic.calibrate import NEVER
from proxy.cache.semantic.verify import Trees, Verifier

VERIFIER = Verifier.load()


def judge(asked: str, *stored: str, cosine: float = 0.9) -> list[float]:
    found = VERIFIER.judge(VERIFIER.facts(asked), [(VERIFIER.facts(text), cosine) for text in stored])
    return [one.probability for one in found]


def test_a_repeat_is_surer_than_a_paraphrase_and_that_than_another_question() -> None:
    asked = "How do I cancel my travel insurance policy?"
    repeat, paraphrase = judge(
        asked, "how do i cancel my travel insurance policy", "How can I end my travel insurance?"
    )
    (other,) = judge(asked, "What does my home cover?", cosine=0.2)
    assert repeat > 0.9
    assert repeat > paraphrase > 0.5 > other
    assert other < 0.1


def test_a_veto_is_the_end_of_it() -> None:
    asked = VERIFIER.facts("Is a 5% tip enough in Rome?")
    verdicts = VERIFIER.judge(asked, [(VERIFIER.facts(f"Is a {n}% tip enough in Rome?"), 0.99) for n in (15, 5)])
    assert (verdicts[0].probability, verdicts[0].vetoes) == (0, ("numbers",))
    assert (verdicts[1].probability > 0.9, verdicts[1].vetoes) == (True, ())
    assert VERIFIER.judge(asked, []) == []


def test_a_verdict_does_not_depend_on_the_others() -> None:
    texts = ["怎么取消会员", "如何取消会员呢", "怎么续费会员"]
    together = judge("请问怎么取消会员？", *texts)
    assert together == pytest.approx([judge("请问怎么取消会员？", text)[0] for text in texts])


def test_stricter_promises_have_higher_thresholds() -> None:
    found = [VERIFIER.threshold(error) for error in (0.02, 0.05, 0.1, 0.2)]
    assert found == sorted(found, reverse=True)
    assert 0 < found[-1] < found[0] < 1
    assert VERIFIER.threshold(0.0001) == NEVER
    assert VERIFIER.threshold(0.099) == VERIFIER.threshold(0.08)


def test_trees_go_left_up_to_the_limit_and_right_above_it() -> None:
    inner = np.zeros((1, 7), np.int64)
    limits = np.full((1, 7), np.inf)
    limits[0, 0] = 1.0
    trees = Trees(0.5, inner, limits, np.arange(8.0)[None, :])
    assert trees.score(np.array([[1.0], [1.5]])).tolist() == [0.5, 4.5]


def test_a_file_for_other_features_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "verifier.json"
    file.write_bytes(orjson.dumps({"features": ["cosine"]}))
    monkeypatch.setattr(verify, "_FILE", file)
    with pytest.raises(ValueError, match="other features"):
        Verifier.load()
