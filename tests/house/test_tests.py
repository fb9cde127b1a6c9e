"""Tests can fail: each has an assertion, and none is skipped without saying why."""

from __future__ import annotations

import ast

from tests.house import tree


def _called(node: ast.AST) -> str:
    function = node.func if isinstance(node, ast.Call) else node
    return ast.unparse(function) if isinstance(function, (ast.Attribute, ast.Name)) else ""


def without_assertion(name: str, source: str) -> list[str]:
    """Test functions in which nothing is asserted."""

    def asserts(node: ast.AST) -> bool:
        last = _called(node).split(".")[-1] if isinstance(node, ast.Call) else ""
        return isinstance(node, ast.Assert) or last == "raises" or last.startswith("assert_")

    return [
        f"{name}:{node.lineno}: {function}"
        for function, node in tree.functions(ast.parse(source))
        if node.name.startswith("test_") and not any(asserts(inner) for inner in ast.walk(node))
    ]


def without_reason(name: str, source: str) -> list[str]:
    """Skips and expected failures that do not say why."""
    found = []
    module = ast.parse(source)
    calls = {id(node.func): node for node in ast.walk(module) if isinstance(node, ast.Call)}
    for node in ast.walk(module):
        if not isinstance(node, ast.Attribute):
            continue
        called = _called(node)
        if called in {"pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail", "pytest.importorskip"}:
            call = calls.get(id(node))
            said = call is not None and any(keyword.arg == "reason" for keyword in call.keywords)
        elif called in {"pytest.skip", "pytest.xfail"}:
            call = calls.get(id(node))
            said = call is not None and bool(call.args or call.keywords)
        else:
            continue
        if not said:
            found.append(f"{name}:{node.lineno}: {called}")
    return found


def test_every_test_asserts() -> None:
    found = [fault for name in tree.python_files("tests/") for fault in without_assertion(name, tree.text(name))]
    assert not found, "\n".join(found)


def test_every_skip_has_its_reason() -> None:
    found = [fault for name in tree.python_files("tests/") for fault in without_reason(name, tree.text(name))]
    assert not found, "\n".join(found)


def test_a_test_that_cannot_fail_is_noticed() -> None:
    assert len(without_assertion("a.py", "def test_x():\n    work()\n")) == 1
    assert len(without_assertion("a.py", "class TestA:\n    async def test_x(self):\n        pass\n")) == 1
    for good in (
        "test_x(): assert 1",
        "test_x():\n    with pytest.raises(E): f()",
        "test_x(): assert_same(1, 1)",
        "x(): pass",
    ):
        assert without_assertion("a.py", f"def {good}\n") == [], good


def test_a_skip_without_reason_is_noticed() -> None:
    mark, skip = "pytest.mark", "pytest.skip"
    for bad in (
        f"@{mark}.skip\ndef f(): ...",
        f"@{mark}.skipif(x)\ndef f(): ...",
        f"{skip}()",
        "pytest.importorskip('x')",
    ):
        assert len(without_reason("a.py", bad)) == 1, bad
    for good in (
        f"@{mark}.skipif(x, reason='y')\ndef f(): ...",
        f"{skip}('no redis')",
        f"@{mark}.parametrize('x', [])\ndef f(): ...",
    ):
        assert without_reason("a.py", good) == [], good
