import pytest

from tests.gateways import KEY, Rig


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/chat/completions/",
        "//v1/chat/completions",
        "/v1/chat/%63ompletions",
        "/v1/embeddings/",
        "/V1/models",
        "/v1/models/",
        "/metrics",
        "/admin/v1/config",
    ],
)
async def test_whatever_is_not_listed_is_a_404_in_openais_shape(path: str) -> None:
    async with Rig().client() as client:
        response = await client.post(path, json={})
    assert response.status_code == 404
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == "not_found"
    assert response.headers["x-request-id"].startswith("req_")
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models", "GET"),
        ("POST", "/livez", "GET"),
        ("GET", "/api/count-tokens", "POST"),
        ("OPTIONS", "/v1/chat/completions", "POST"),
        ("GET", "/v1/embeddings", "POST"),
    ],
)
async def test_a_wrong_method_is_a_405_that_names_the_right_one(method: str, path: str, allow: str) -> None:
    async with Rig().client() as client:
        response = await client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == allow
    assert response.json()["error"]["code"] == "method_not_allowed"


async def test_a_refusal_counts_and_leaves_the_fact_in_the_log() -> None:
    rig = Rig()
    async with rig.client() as client:
        await client.get("/nonsense", headers={"x-request-id": "mine"})
    assert rig.log.lines == [
        {"event": "refused", "request_id": "mine", "status": 404, "error": "not_found", "param": None}
    ]


async def test_a_sane_request_id_comes_back_on_everything() -> None:
    async with Rig().client() as client:
        for path in ("/livez", "/v1/models", "/nonsense"):
            assert (await client.get(path, headers={"x-request-id": "mine"})).headers["x-request-id"] == "mine"


async def test_what_the_guard_refuses_closes_the_connection() -> None:
    async with Rig().client() as client:
        response = await client.get("/livez", headers=[("authorization", KEY), ("authorization", KEY)])
    assert response.status_code == 401
    assert response.headers["connection"] == "close"
