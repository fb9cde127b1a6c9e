import asyncio
from contextlib import suppress

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.observe.board import Board
from proxy.observe.crew import Crew
from proxy.observe.merging import buried
from proxy.observe.metrics import Metrics


class Ship:
    """A board, so many workers on it, and a clock that all of them read."""

    def __init__(self, workers: int) -> None:
        self.now_s = 100.0
        self.board = Board(8)
        self.crews = [Crew(self.board, slot, -1, lambda: self.now_s) for slot in range(workers)]
        for slot in range(workers):
            self.board.assign(slot, self.now_s)

    def all_begin(self) -> None:
        for crew in self.crews:
            crew.begin()
        self.board.opened = True


def status(crew: Crew) -> str:
    return crew.status


async def for_a_moment(task: asyncio.Task[None]) -> None:
    """Let it run until it sleeps, then end it."""
    for _ in range(100):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def requests(text: bytes) -> float:
    families = text_string_to_metric_families(text.decode())
    samples = (sample for family in families for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == "llm_requests_total")


def counted(number: int) -> Metrics:
    metrics = Metrics()
    for _ in range(number):
        metrics.call_refused(status=400, kind="invalid_request")
    return metrics


def test_the_whole_is_not_ready_before_all_have_been() -> None:
    ship = Ship(2)
    ship.crews[0].begin()
    assert status(ship.crews[0]) == status(ship.crews[1]) == "starting"
    ship.all_begin()
    assert status(ship.crews[0]) == status(ship.crews[1]) == "ready"


def test_one_that_is_ready_is_enough_from_then_on() -> None:
    ship = Ship(2)
    ship.all_begin()
    ship.board.clear(0)
    assert status(ship.crews[1]) == "ready"
    ship.crews[1].leave()
    assert status(ship.crews[1]) == "starting"


def test_a_worker_that_leaves_still_answers_for_the_others() -> None:
    ship = Ship(2)
    ship.all_begin()
    ship.crews[0].leave()
    assert status(ship.crews[0]) == "ready"


def test_a_silent_worker_is_not_counted_on() -> None:
    ship = Ship(2)
    ship.all_begin()
    ship.now_s += 6
    assert status(ship.crews[0]) == "starting"
    ship.board.beat(1, ship.now_s, 0)
    assert status(ship.crews[0]) == "ready"
    assert [silent_s for _, silent_s in ship.crews[0].standings()] == [6, 0]


def test_a_drain_of_the_whole_is_said_by_everybody_at_once() -> None:
    ship = Ship(2)
    ship.all_begin()
    ship.board.draining = True
    assert {crew.status for crew in ship.crews} == {"draining"}


def test_the_fewest_connections_are_those_of_a_sibling_that_is_awake() -> None:
    ship = Ship(3)
    assert ship.crews[0].fewest_connections() is None
    ship.all_begin()
    for crew, connections in zip(ship.crews, (1, 5, 9), strict=True):
        crew.connected(connections)
    assert ship.crews[0].fewest_connections() == 5
    assert ship.crews[1].fewest_connections() == 1
    ship.now_s += 2
    ship.board.beat(2, ship.now_s, 0)
    assert ship.crews[0].fewest_connections() == 9


async def test_a_beat_shows_calls_and_connections_and_heeds_a_call_for_a_reload() -> None:
    ship, reloads = Ship(2), list[str]()
    ship.all_begin()
    ship.now_s += 1
    ship.crews[1].call_for_reload()  # before it listens: it begins with the config of now
    task = asyncio.create_task(ship.crews[0].beat(lambda: (3, 7), lambda: reloads.append("again")))
    await asyncio.sleep(0)
    standing = ship.board.standing(0)
    assert (standing.calls, standing.connections, standing.beat_s) == (3, 7, 101)
    assert ship.crews[1].calls == 3
    assert reloads == []
    ship.crews[1].call_for_reload()
    for _ in range(200):
        if reloads:
            break
        await asyncio.sleep(0.01)
    assert reloads == ["again"]
    await for_a_moment(task)


async def test_a_scrape_shows_the_whole() -> None:
    ship = Ship(3)
    tasks = [asyncio.create_task(crew.publish(counted(10))) for crew in ship.crews[:2]]
    for task in tasks:
        await for_a_moment(task)
    ship.board.bury(3, buried(b"", ship.board.sheet(0)))
    assert requests(await ship.crews[2].exposition(counted(1))) == 31


async def test_what_was_shown_once_is_never_taken_back() -> None:
    """A worker begins to write down what it has counted, counts on, and is scraped before it is done."""
    ship, metrics = Ship(2), counted(1)
    task = asyncio.create_task(ship.crews[0].publish(metrics))
    for _ in range(12):
        await asyncio.sleep(0)
    for _ in range(4):
        metrics.call_refused(status=400, kind="invalid_request")
    assert requests(await ship.crews[0].exposition(metrics)) == 5
    await for_a_moment(task)
    assert requests(await ship.crews[1].exposition(counted(0))) == 5


@pytest.mark.parametrize("deaths", [0, 3])
def test_the_lost_are_counted(deaths: int) -> None:
    ship = Ship(1)
    ship.board.deaths = deaths
    assert ship.crews[0].deaths == deaths
