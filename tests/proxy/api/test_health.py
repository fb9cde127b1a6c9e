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
