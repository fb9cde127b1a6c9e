from proxy.cache.semantic.calibrate import Calibrator
from proxy.cache.served import Hit, Served

HIT = Hit("search", b"k", "req_0", 0.9, Calibrator(0.05, 0.9))


def test_a_hit_is_known_by_both_ids_of_its_call_and_only_once() -> None:
    for id in ("req_1", "mine"):
        served = Served()
        served.add(HIT, "req_1", "mine")
        assert served.take("search", id) is HIT
        assert served.take("search", "req_1") is None
        assert served.take("search", "mine") is None


def test_a_hit_is_its_own_teams() -> None:
    served = Served()
    served.add(HIT, "req_1", "mine")
    served.add(Hit("sales", b"other", "req_0"), "req_2", "mine")
    assert served.take("sales", "req_1") is None
    assert served.take("sales", "mine") == Hit("sales", b"other", "req_0")
    assert served.take("search", "mine") is HIT


def test_the_latest_are_remembered() -> None:
    served = Served(limit=2)
    for number in range(5):
        served.add(HIT, f"req_{number}", f"mine_{number}")
    assert served.take("search", "req_0") is None
    assert served.take("search", "req_4") is HIT
    assert len(served._hits) <= 4
