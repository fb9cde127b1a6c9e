import pytest

from tests.gateways import KEY, OTHER_KEY, Rig


@pytest.mark.parametrize(
    ("key", "names"),
    [(KEY, ["chat", "default", "org/chat"]), (OTHER_KEY, ["chat", "default", "org/chat", "large"])],
)
async def test_a_team_sees_the_models_it_may_use(key: str, names: list[str]) -> None:
    async with Rig().client(key) as client:
        body = (await client.get("/v1/models")).json()
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == names
    assert all(model["object"] == "model" and model["owned_by"] == "waystation" for model in body["data"])


@pytest.mark.parametrize("path", ["/v1/models/chat", "/v1/models/org/chat", "/v1/models/org%2Fchat"])
async def test_a_model_is_shown_by_any_of_its_names(path: str) -> None:
    async with Rig().client() as client:
        response = await client.get(path)
    assert response.status_code == 200
    assert response.json()["id"] in ("chat", "org/chat")


@pytest.mark.parametrize("name", ["large", "nonsense", "../../admin/v1/config"])
async def test_a_model_that_is_not_the_teams_does_not_exist_for_it(name: str) -> None:
    async with Rig().client() as client:
        response = await client.get(f"/v1/models/{name}")
    assert response.status_code == 404


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/chat"])
async def test_without_a_key_nothing_is_shown(path: str) -> None:
    async with Rig().client(None) as client:
        assert (await client.get(path)).status_code == 401
