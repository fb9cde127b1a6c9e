import json
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.latencies import Latency, assume, latencies, read_measured, standing_faults
from proxy.config import ProviderConfig
from routing import Price, Target
from routing.simulate import Cloud, Request

CHEAP, DEAR, UNPRICED = (
    Target("p/cheap", "p", "cheap", Price(0.1, 0.3)),
    Target("p/dear", "p", "dear", Price(1.0, 3.0)),
    Target("p/unpriced", "p", "unpriced"),
)
REAL = ProviderConfig.model_validate({"kind": "openai", "base_url": "http://127.0.0.1:1/v1"})


def demo(**faults: Any) -> ProviderConfig:
    return ProviderConfig.model_validate({"kind": "demo", "profile": "cheap", "faults": faults})


def a_row(**changes: Any) -> dict[str, Any]:
    row = {"target": "p/cheap", "samples": 50, "base_s": 0.4, "per_ktok_s": 0.1, "sigma": 0.3, "tokens_per_s": 60.0}
    return {**row, "breaker": "closed", **changes}


def saved(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "targets.json"
    path.write_text(json.dumps({"targets": rows}))
    return path


def test_the_cheaper_is_assumed_to_be_the_slower_and_who_has_no_price_stands_between() -> None:
    assumed = assume([DEAR, CHEAP, UNPRICED])
    speeds = [assumed[target.name] for target in (CHEAP, UNPRICED, DEAR)]
    assert [one.base_s for one in speeds] == sorted((one.base_s for one in speeds), reverse=True)
    assert speeds[0].tokens_per_s < speeds[1].tokens_per_s < speeds[2].tokens_per_s
    assert {one.source for one in speeds} == {"assumed"}


def test_equal_prices_are_equally_fast_and_one_target_stands_in_the_middle() -> None:
    twin = Target("q/cheap", "q", "cheap", CHEAP.price)
    assumed = assume([CHEAP, twin, DEAR])
    assert assumed["p/cheap"] == assumed["q/cheap"]
    assert assume([CHEAP])["p/cheap"] == assume([DEAR])["p/dear"] == assumed_middle()


def assumed_middle() -> Latency:
    return assume([UNPRICED])["p/unpriced"]


def test_measured_goes_before_simulated_and_simulated_before_assumed(tmp_path: Path) -> None:
    targets, assumed = [CHEAP, DEAR], assume([CHEAP, DEAR])
    measured = read_measured(saved(tmp_path, a_row()))
    known = latencies(targets, {"p": REAL}, measured, assumed)
    assert [known[target.name].source for target in targets] == ["measured", "assumed"]
    known = latencies(targets, {"p": demo()}, measured, assumed)
    assert [known[target.name].source for target in targets] == ["measured", "simulated"]
    assert (known["p/cheap"].base_s, known["p/dear"].base_s) == (0.4, 0.6)


def test_a_simulated_provider_goes_on_failing_however_it_was_measured(tmp_path: Path) -> None:
    measured = read_measured(saved(tmp_path, a_row()))
    known = latencies([CHEAP], {"p": demo(error_rate="20%")}, measured, assume([CHEAP]))
    assert (known["p/cheap"].source, known["p/cheap"].error_rate) == ("measured", 0.2)


def test_a_provider_that_takes_no_time_can_be_simulated() -> None:
    known = latencies([CHEAP], {"p": demo(first_token="0ms", per_token="0ms")}, {}, assume([CHEAP]))
    profile = known["p/cheap"].profile(CHEAP)
    assert (profile.base_s, profile.name) == (0.0, "p/cheap")
    assert profile.tokens_per_s > 1000


def test_the_rates_of_standing_faults_are_kept_beside_each_other() -> None:
    latency = Latency("simulated", 0.5, 0.0, 50.0, 0.3, error_rate=0.2, cut_rate=0.1, hang_rate=0.05)
    cloud = Cloud([latency.profile(CHEAP)], standing_faults({"p/cheap": latency}), seed=1)
    fates = [cloud.peek(Request(index, 0.0, 100, 50), "p/cheap", 0, 0.0) for index in range(4000)]
    hung = sum(fate.kind == "failed" and fate.end_s > 1e6 for fate in fates)
    failed = sum(fate.kind == "failed" for fate in fates) - hung
    cut = sum(fate.kind == "cut" for fate in fates)
    assert (hung / 4000, failed / 4000, cut / 4000) == pytest.approx((0.05, 0.2, 0.1), abs=0.02)


def test_what_is_well_has_no_standing_faults() -> None:
    assert standing_faults(assume([CHEAP, DEAR])) == ()


def test_a_target_that_was_hardly_asked_is_not_measured(tmp_path: Path) -> None:
    assert read_measured(saved(tmp_path, a_row(samples=4))) == {}
    (latency,) = read_measured(saved(tmp_path, a_row(samples=5, tokens_per_s=None))).values()
    assert latency.tokens_per_s == assumed_middle().tokens_per_s


@pytest.mark.parametrize(
    "row",
    [[], {}, a_row(base_s="fast"), a_row(base_s=-1), a_row(sigma=float("nan")), a_row(per_ktok_s=True)],
    ids=str,
)
def test_a_file_that_is_no_answer_of_the_gateway_is_refused(row: object, tmp_path: Path) -> None:
    path = saved(tmp_path, row)
    with pytest.raises(ValueError, match="is no saved answer of GET /admin/v1/targets"):
        read_measured(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_measured(tmp_path / "none.json")
