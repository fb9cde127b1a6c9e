from proxy.observe import Board, Crew
from proxy.state import open_redis_registry
from tests.gateways import Rig, chat_body


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


async def test_a_gateway_that_could_not_read_its_keys_yet_is_not_ready() -> None:
    registry = open_redis_registry("redis://127.0.0.1:1/0", "fleet")
    registry.follow()
    rig = Rig(registry=registry)
    async with rig.client(None) as client:
        assert (await client.get("/livez")).status_code == 200
        for path in ("/readyz", "/healthz"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["status"]) == (503, "keys unread")
    async with rig.client() as client:
        refused = await client.post("/v1/chat/completions", json=chat_body())
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    registry.version = 1
    async with rig.client(None) as client:
        assert (await client.get("/readyz")).status_code == 200
