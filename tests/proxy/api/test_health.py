from proxy.observe import Board, Crew
from tests.gateways import Rig


async def test_probes_need_no_key_and_name_the_config() -> None:
    rig = Rig()
    async with rig.client(None) as client:
        assert (await client.get("/livez")).json() == {"status": "ok"}
        ready = await client.get("/readyz")
        health = (await client.get("/healthz")).json()
    assert ready.status_code == 200
    assert ready.json() == {"status": "ready", "config_hash": rig.gateway.surface.config_hash}
    assert (health["status"], health["calls_in_flight"]) == ("ok", 0)


async def test_readiness_ends_when_draining_begins_and_liveness_does_not() -> None:
    rig = Rig()
    rig.gateway.draining = True
    async with rig.client(None) as client:
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 503


async def test_one_of_several_workers_answers_for_all() -> None:
    rig, board = Rig(), Board(4)
    rig.gateway.crew = Crew(board, 2, -1)
    for slot in (1, 2):
        board.assign(slot, 0.0)
    async with rig.client(None) as client:
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).json()["status"] == "starting"
        Crew(board, 1, -1).begin()
        board.beat(2, 0.0, 5)
        board.opened, board.deaths = True, 3
        assert (await client.get("/readyz")).json()["status"] == "ready"
        health = (await client.get("/healthz")).json()
        rig.gateway.draining = True
        assert (await client.get("/readyz")).status_code == 200
        board.draining = True
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/livez")).status_code == 200
    assert (health["worker"], health["workers_lost"], health["calls_in_flight"]) == (2, 3, 5)
    assert [(one["worker"], one["state"]) for one in health["workers"]] == [(1, "ready"), (2, "starting")]
