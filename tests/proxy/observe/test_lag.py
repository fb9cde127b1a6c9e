import asyncio

from proxy.observe import LoopLag, Metrics


async def test_loop_lag_is_sampled_until_stopped() -> None:
    metrics = Metrics()
    lag = LoopLag(metrics, asyncio.get_running_loop())
    lag._sample()
    lag.stop()
    assert metrics.registry.get_sample_value("llm_event_loop_lag_seconds_count") == 1
    assert lag._timer.cancelled()
