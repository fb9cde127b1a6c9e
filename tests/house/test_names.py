"""Where files lie and what they are called: the planned top level, no drawers for odds and ends, mirrored tests."""

from __future__ import annotations

from pathlib import PurePosixPath

from tests.house import tree

TOP_LEVEL = {
    *("proxy", "routing", "tests", "benchmarks", "scripts", "docs", "deploy"),
    *("config.yaml", "Dockerfile", "pyproject.toml", "requirements.lock"),
    *("README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md"),
}
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "stuff", "shared"}
#: Files up to this many lines are tested where they are used.
SMALL_LINES = 20
#: file -> why it has no test file of its own
TESTED_ELSEWHERE: dict[str, str] = {
    "proxy/api/surface.py": "two values and a protocol; every test of tests/proxy/api goes through them",
    "proxy/app/world.py": "every world of tests/proxy/app/test_gateway.py is built by it",
    "proxy/app/redis_state.py": "the same with real servers: tests/integration/test_shared_state.py",
    "proxy/chain/cache_rules.py": "two values",
    "proxy/cache/redis_opened.py": "tests/proxy/cache/test_opened_level.py",
    "proxy/app/state.py": "opened by `serve`: tests/integration/",
    "proxy/cache/nearest/base.py": "protocols and the values they speak of",
    "proxy/cli/orders.py": "signals and drains need a real process: tests/integration/",
    "proxy/cli/workers.py": "so do processes that fork: tests/integration/; what it decides is in staffing.py",
    "proxy/cli/serve.py": "signals, ports and exit codes need a real process: tests/integration/",
    "proxy/providers/base.py": "protocols and one value",
    "proxy/state/registry.py": "protocols and the values they speak of; tested with the store that keeps to them",
    "proxy/state/claims.py": "the same",
    "proxy/state/cache_rows.py": "the same",
    "proxy/state/news.py": "the same",
    "proxy/providers/transport/connections.py": "one test body for both transports: transport/test_body.py",
    "proxy/providers/transport/over_aiohttp.py": "the same",
    "proxy/providers/transport/over_httpx.py": "the same",
}


def strays(names: tuple[str, ...]) -> set[str]:
    """Top-level entries that the plan does not know; dot-files are free."""
    return {top for top in (name.split("/")[0] for name in names) if not top.startswith(".")} - TOP_LEVEL


def drawers(names: tuple[str, ...]) -> list[str]:
    """Files and folders named for being anything."""
    return [name for name in names if DRAWERS.intersection(part.split(".")[0].strip("_") for part in name.split("/"))]


def mirror_of(name: str) -> str:
    """The test file that belongs to a file of code."""
    path = PurePosixPath(name)
    return str("tests" / path.parent / f"test_{path.name}")


def unmirrored(sizes: dict[str, int], names: tuple[str, ...]) -> list[str]:
    """Files of code (-> lines) that are large enough for a test file of their own and have none."""
    large = (name for name, lines in sizes.items() if lines > SMALL_LINES and not name.endswith("__init__.py"))
    return [name for name in large if mirror_of(name) not in names]


def test_top_level_is_as_planned() -> None:
    assert strays(tree.files()) == set()


def test_no_file_is_a_drawer() -> None:
    assert drawers(tree.files()) == []


def test_every_file_has_its_test_file() -> None:
    missing = unmirrored({name: len(tree.text(name).splitlines()) for name in tree.code()}, tree.files())
    assert sorted(missing) == sorted(TESTED_ELSEWHERE), "\n".join(missing)


def test_every_test_file_has_its_code() -> None:
    mirrors = {mirror_of(name) for name in tree.code()}
    tests = {name for name in tree.python_files("tests/proxy/", "tests/routing/") if "/test_" in name}
    assert tests - mirrors == set()


def test_misplaced_files_are_noticed() -> None:
    names = ("stray.txt", ".dotfile", "proxy/chain/helpers.py", "proxy/utils/x.py", "proxy/chain/route.py")
    assert strays(names) == {"stray.txt"}
    assert drawers(names) == ["proxy/chain/helpers.py", "proxy/utils/x.py"]


def test_a_file_without_test_is_noticed() -> None:
    sizes = {"proxy/a.py": 21, "proxy/b.py": 21, "proxy/small.py": 20, "proxy/x/__init__.py": 99}
    assert unmirrored(sizes, ("tests/proxy/test_b.py",)) == ["proxy/a.py"]
