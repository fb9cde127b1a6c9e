from proxy.observe.cache_counts import CacheCounts


def test_every_event_of_both_tiers_is_there_from_the_start() -> None:
    counts = CacheCounts()
    found = dict(counts.by_tier())
    assert found["exact", "hit"] == found["semantic", "would_hit"] == 0
    counts.semantic.events["would_hit"] += 1
    assert dict(counts.by_tier())["semantic", "would_hit"] == 1
    assert len(found) == len(counts.events) + len(counts.semantic.events)
