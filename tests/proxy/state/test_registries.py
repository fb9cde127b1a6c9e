import subprocess
import sys
from pathlib import Path

from proxy.state import SqliteRegistry, open_registry
from proxy.state.redis_registry import RedisRegistry


def test_the_url_says_where_keys_are_kept(tmp_path: Path) -> None:
    kept = open_registry(f"sqlite:///{tmp_path}/a.db")
    assert isinstance(kept, SqliteRegistry)
    assert kept.is_read
    kept.close()
    elsewhere = open_registry("redis://127.0.0.1:1/0", "fleet")
    assert isinstance(elsewhere, RedisRegistry)
    assert not elsewhere.is_read
    elsewhere.close()
    assert open_registry("postgres://h/d") is None


def test_who_has_no_redis_does_not_wait_for_its_client_to_be_imported() -> None:
    code = "import sys, proxy.cli; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
