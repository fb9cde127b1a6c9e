from prometheus_client import CollectorRegistry

from proxy.observe import ReplicaGauge


def test_gateways_are_counted_by_their_config() -> None:
    hashes = ["abc", "abc"]
    registry = CollectorRegistry()
    registry.register(ReplicaGauge(lambda: hashes))
    assert registry.get_sample_value("llm_replicas", {"config_hash": "abc"}) == 2
    hashes[1] = "def"
    assert registry.get_sample_value("llm_replicas", {"config_hash": "abc"}) == 1
    assert registry.get_sample_value("llm_replicas", {"config_hash": "def"}) == 1
