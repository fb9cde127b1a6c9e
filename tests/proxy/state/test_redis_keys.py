from proxy.state.redis_finder import key_slot
from proxy.state.redis_keys import RedisKeys


def test_all_keys_of_a_team_lie_together_and_those_of_another_need_not() -> None:
    keys = RedisKeys("ns")
    assert keys.team("sales") == "{ns/sales}"
    assert keys.fleet == "{ns}"
    one, other = (key_slot(f"{keys.team('sales')}:{name}".encode()) for name in ("held", "use:day:2026-11-21"))
    assert one == other != key_slot(keys.team("legal").encode())
