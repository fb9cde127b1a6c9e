"""No hidden state: parts are built in one place and handed in; and no exception disappears unseen."""

from __future__ import annotations

import ast

from tests.house import tree

#: The places where anything may be caught: file, function -> why. At most three.
FENCES = {
    ("proxy/api/respond.py", "Exchange._answer"): "the answer writer: whatever breaks, the client gets an answer",
    ("proxy/api/respond.py", "Exchange._finish"): "the same where its call is settled: the answer is there by then",
    (
        "proxy/cli/serve.py",
        "_reload",
    ): "a background loop: whatever breaks, the old world goes on and is reloaded again",
}
MAX_FENCES = 3
#: Pure functions whose results are kept: (file, function) -> reason.
CACHES = {
    (
        "proxy/providers/transport/over_aiohttp.py",
        "_connect_timeout",
    ): "a value a time-out; made anew for each request it is measurable",
    (
        "proxy/providers/transport/body.py",
        "tls_context",
    ): "reads the certificate authorities, 20 ms and 1 MB, for all providers",
}

_MUTABLE_CALLS = {
    "dict",
    "list",
    "set",
    "bytearray",
    "defaultdict",
    "deque",
    "Counter",
    "OrderedDict",
    "WeakKeyDictionary",
    "WeakValueDictionary",
}
_MUTABLE_NODES = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)
_CACHES = {"cache", "lru_cache"}


def _last_name(node: ast.AST | None) -> str:
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def module_state(name: str, source: str) -> list[str]:
    """Module-level containers that are no constants (`UPPER: Final = …`), `global`, and caches around functions."""
    module = ast.parse(source)
    found = []
    for node in module.body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        mutable = isinstance(node.value, _MUTABLE_NODES) or (
            isinstance(node.value, ast.Call) and _last_name(node.value) in _MUTABLE_CALLS
        )
        target = _last_name(node.targets[0] if isinstance(node, ast.Assign) else node.target)
        constant = isinstance(node, ast.AnnAssign) and _last_name(node.annotation) == "Final" and target.isupper()
        if mutable and not constant and target != "__all__":
            found.append(f"{name}:{node.lineno}: {target}")
    found += [f"{name}:{node.lineno}: global" for node in ast.walk(module) if isinstance(node, ast.Global)]
    for function, defined in tree.functions(module):
        if (name, function) in CACHES:
            continue
        if any(_last_name(decorator) in _CACHES for decorator in defined.decorator_list):
            found.append(f"{name}:{defined.lineno}: {function} keeps a cache")
    return found


def broad_handlers(name: str, source: str) -> list[tuple[str, str]]:
    """(file, innermost function) of each handler or `suppress` that takes every Exception."""
    found = []

    def visit(node: ast.AST, function: str) -> None:
        caught: list[ast.expr | None] = []
        if isinstance(node, ast.ExceptHandler):
            caught = [*node.type.elts] if isinstance(node.type, ast.Tuple) else [node.type]
        elif isinstance(node, ast.Call) and _last_name(node) == "suppress":
            caught = [*node.args]
        if any(kind is None or _last_name(kind) in {"Exception", "BaseException"} for kind in caught):
            found.append((name, function))
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            visit(child, f"{function}.{child.name}".lstrip(".") if named else function)  # type: ignore[attr-defined]

    visit(ast.parse(source), "")
    return found


def test_modules_hold_no_mutable_state() -> None:
    found = [fault for name in tree.code() for fault in module_state(name, tree.text(name))]
    assert not found, "\n".join(found)


def test_everything_is_caught_only_at_the_fences() -> None:
    found = [place for name in tree.code() for place in broad_handlers(name, tree.text(name))]
    assert sorted(found) == sorted(FENCES)
    assert len(FENCES) <= MAX_FENCES


def test_module_state_is_noticed() -> None:
    for bad in (
        "seen = {}\n",
        "SEEN = {}\n",
        "seen: Final = []\n",
        "_seen: dict[str, int] = dict()\n",
        "queue = collections.deque()\n",
        "def f():\n    global n\n    n = 1\n",
        "@functools.lru_cache(maxsize=None)\ndef f(): ...\n",
    ):
        assert len(module_state("a.py", bad)) == 1, bad


def test_declared_constants_are_no_state() -> None:
    for good in ("_A: Final = {'a': 1}\n", "A: Final[list[int]] = [1]\n", "__all__ = ['A']\n", "A = frozenset({1})\n"):
        assert module_state("a.py", good) == [], good


def test_broad_handlers_are_noticed() -> None:
    handler = "class A:\n    async def f(self):\n        try:\n            x()\n        except {}:\n            pass\n"
    for kind in ("Exception", "BaseException as e", "(ValueError, Exception)"):
        assert broad_handlers("a.py", handler.format(kind)) == [("a.py", "A.f")], kind
    assert broad_handlers("a.py", handler.replace(" {}", "")) == [("a.py", "A.f")]
    assert broad_handlers("a.py", "def f():\n    with contextlib.suppress(Exception):\n        x()\n") == [
        ("a.py", "f")
    ]
    assert broad_handlers("a.py", handler.format("(ValueError, OSError)")) == []
