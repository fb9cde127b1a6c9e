import asyncio
import threading

import pytest

from proxy.cache.nearest.base import LookupFailed
from proxy.cache.nearest.worker import Worker


async def test_jobs_are_done_in_their_order_on_one_thread_that_is_not_the_loops() -> None:
    worker, seen = Worker("test"), []
    jobs = [worker.submit(lambda number=number: seen.append((number, threading.get_ident()))) for number in range(20)]  # type: ignore[misc]
    await asyncio.gather(*jobs)
    worker.close()
    assert [number for number, _ in seen] == [*range(20)]
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()


async def test_what_a_job_gives_or_raises_is_handed_back() -> None:
    worker = Worker("test")
    assert await worker.submit(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await worker.submit(lambda: 1 // 0)
    assert await worker.submit(lambda: 8) == 8
    worker.close()


async def test_no_more_than_a_thousand_jobs_wait_but_for_those_that_may() -> None:
    worker, gate = Worker("test"), threading.Event()
    jobs = [worker.submit(gate.wait)] + [worker.submit(lambda: True) for _ in range(999)]
    with pytest.raises(LookupFailed, match="busy"):
        worker.submit(lambda: True)
    jobs.append(worker.submit(lambda: True, may_wait=True))
    gate.set()
    assert all(await asyncio.gather(*jobs))
    assert await worker.submit(lambda: True)
    worker.close()


async def test_a_cancelled_job_is_left_out() -> None:
    worker, gate, seen = Worker("test"), threading.Event(), []
    first = worker.submit(gate.wait)
    second = worker.submit(lambda: seen.append(2))
    third = worker.submit(lambda: seen.append(3))
    second.cancel()
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, third)
    worker.close()
    assert seen == [3]


async def test_closing_cancels_what_waits_and_refuses_what_comes() -> None:
    worker, gate = Worker("test"), threading.Event()
    first, second = worker.submit(gate.wait), worker.submit(lambda: None)
    worker.close()
    with pytest.raises(LookupFailed, match="closed"):
        worker.submit(lambda: None)
    assert first.cancelled()
    assert second.cancelled()
    gate.set()
