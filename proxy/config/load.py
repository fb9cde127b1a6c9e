"""From the text of a YAML file to a Config, or to every fault in it with its line and column. The only file that
knows YAML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path as FilePath
from typing import Final, cast

import yaml

from proxy.config.detect import merge
from proxy.config.faults import ConfigFaults, Fault, Path
from proxy.config.interpolate import UnresolvedError, interpolate
from proxy.config.places import Place, Places
from proxy.config.schema import Config, masked, validate
from proxy.config.verify import verify
from proxy.config.verify_prices import HasPrice

_MAX_FILE_BYTES: Final = 1_000_000
_MAX_DEPTH: Final = 40
#: Nodes after every alias has been expanded: aliases may save typing, not build bombs.
_MAX_NODES: Final = 100_000
_STRING: Final = "tag:yaml.org,2002:str"
_MERGE: Final = "tag:yaml.org,2002:merge"
_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "map", "seq")
)
_INTEGER: Final = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
_DECIMAL: Final = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
_WORDS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "null": None, "~": None, "": None}
#: The parser's messages that quote the file, cut before the quotation.
_QUOTING: Final = re.compile(r"(undefined alias|duplicate anchor|(?:undefined|duplicate) tag handle) .*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A config that holds."""

    config: Config
    warnings: tuple[Fault, ...]
    config_hash: str  #: 12 hex digits of what the config says, secrets left out


def load(
    path: FilePath,
    environ: Mapping[str, str],
    added: Mapping[str, object] | None = None,
    has_price: HasPrice | None = None,
) -> Loaded:
    """The config in a file. Raises ConfigFaults with all that is wrong.

    `environ` is what `${VAR}` refers to; `added` is merged into the top level's mappings; for `has_price` see `verify`.
    """
    places = Places(str(path))
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            places.fault((1, 1), (), f"the file exceeds {_MAX_FILE_BYTES:,} bytes")
            raise ConfigFaults(places.faults())
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        places.fault((1, 1), (), f"the file cannot be read: {error.strerror}")
        raise ConfigFaults(places.faults()) from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        places.fault((line, 1), (), f"the file is not UTF-8 (byte {error.start:,})")
        raise ConfigFaults(places.faults()) from None
    return load_text(text, environ, str(path), added, has_price)


def load_text(
    text: str,
    environ: Mapping[str, str],
    file: str,
    added: Mapping[str, object] | None = None,
    has_price: HasPrice | None = None,
) -> Loaded:
    """As `load`, from a text that is called `file`."""
    places = Places(file)
    root = _compose(places, text)
    data: object = _Builder(places, environ).build(root, ())
    if added and isinstance(data, dict):
        data = merge(data, added)
        places.added = {(section, name) for section, more in added.items() if isinstance(more, dict) for name in more}
    findings = verify(data, has_price)
    checked = validate(data)
    for finding in (*findings, *(checked if isinstance(checked, list) else ())):
        if not finding.is_warning:
            places.report(finding)
    faults = places.faults()
    if faults or isinstance(checked, list):
        raise ConfigFaults(faults)
    warnings = sorted({places.warning(finding) for finding in findings if finding.is_warning})
    return Loaded(checked, tuple(warnings), sha256(masked(checked)).hexdigest()[:12])


class _Loader(yaml.SafeLoader):
    """Composes nodes, and refuses to nest them deeper than the recursion of those who read them may go."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            problem = f"it is nested deeper than {_MAX_DEPTH} levels"
            event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=cast("yaml.error.Mark", event.start_mark))
        node: yaml.Node | None = super().compose_node(parent, index)  # type: ignore[arg-type]
        self._depth -= 1
        return node


def _compose(places: Places, text: str) -> yaml.MappingNode:
    """The file as a tree of nodes. Raises ConfigFaults where reading on makes no sense."""
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
        places.fault(place, (), f"not valid YAML: {_problem(error)}", _remedy(error))
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
        places.fault(place, (), "not valid YAML: a character that is not allowed")
    except (ValueError, OverflowError):  # "\UFFFFFFFF"
        place = (1, 1) if loader is None else _place(loader.get_mark())
        places.fault(place, (), "not valid YAML: an escape that names no character")
    else:
        if not isinstance(node, yaml.MappingNode):
            place = (1, 1) if node is None else _place(node.start_mark)
            places.fault(place, (), "the file must hold a mapping", "it begins with 'version: 1'")
        elif (large := _too_large(node)) is not None:
            limit = f"more than {_MAX_NODES:,} values or {_MAX_DEPTH} levels"
            places.fault(_place(large.start_mark), (), f"{limit}, with aliases (*) expanded")
        else:
            return node
    raise ConfigFaults(places.faults())


def _problem(error: yaml.MarkedYAMLError) -> str:
    if error.problem == "but found another document":
        return "there are several documents in it"
    return _QUOTING.sub(r"\1", error.problem or error.context or "")


def _remedy(error: yaml.MarkedYAMLError) -> str:
    problem, mark = error.problem or "", error.problem_mark
    if "undefined alias" in problem:
        return "text that begins with * needs quotes"
    if "'\\t'" in problem:
        return "indent with spaces"
    if mark is not None and isinstance(mark.buffer, str) and mark.buffer[: mark.pointer].endswith("$"):
        return 'within { } and [ ] a reference needs quotes: "${VAR}"'
    return ""


def _place(mark: yaml.Mark) -> Place:
    return mark.line + 1, mark.column + 1


def _too_large(root: yaml.MappingNode) -> yaml.Node | None:
    """The key of the first section that is too large by itself, or the whole file if only that is."""
    known: dict[int, tuple[int, int]] = {}
    for key, node in (*root.value, (root, root)):
        nodes, levels = _measure(node, known)
        if nodes > _MAX_NODES or levels > _MAX_DEPTH:
            return cast("yaml.Node", key)
    return None


def _measure(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Nodes and levels below and including this one, as aliases repeat them; more than allowed for a circle."""
    if id(node) not in known:
        known[id(node)] = (_MAX_NODES + 1, _MAX_DEPTH + 1)  # met again before it is done: a circle
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        flat = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
        sizes = [_measure(child, known) for child in flat]
        total = 1 + sum(nodes for nodes, _ in sizes)
        known[id(node)] = (min(_MAX_NODES + 1, total), 1 + max((levels for _, levels in sizes), default=0))
    return known[id(node)]


class _Builder:
    """From nodes to plain data, with the place of everything on the way."""

    def __init__(self, places: Places, environ: Mapping[str, str]) -> None:
        self._places = places
        self._environ = environ

    def build(self, node: yaml.Node, path: Path) -> object:
        """The data of a node."""
        place = self._places.values[path] = _place(node.start_mark)
        if node.tag not in _TAGS:
            self._places.fault(place, path, "YAML tags (!) are not supported", settles=True)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*path, index)) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        assert isinstance(node, yaml.ScalarNode), "there is no other kind of node"
        return self._scalar(node, path, place)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        built: dict[str, object] = {}
        for key_node, value_node in node.value:
            place = _place(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                self._places.fault(place, path, "a key must be plain text")
            elif key_node.tag == _MERGE:
                self._places.fault(place, path, "merge keys (<<) are not supported", "repeat what is meant")
            elif key_node.tag not in _TAGS:
                self._places.fault(place, path, "YAML tags (!) are not supported")
            elif key_node.value in built:
                line, _ = self._places.keys[(*path, key_node.value)]
                self._places.fault(place, (*path, key_node.value), "the key is there twice", f"first in line {line}")
            else:
                self._places.keys[(*path, key_node.value)] = place
                built[key_node.value] = self.build(value_node, (*path, key_node.value))
        return built

    def _scalar(self, node: yaml.ScalarNode, path: Path, place: Place) -> object:
        """YAML 1.1 reads `no` as false, `22:22` as 1342 and `0123` as 83; here only what looks like a number is one."""
        text: str = node.value
        if node.style is None and node.tag != _STRING:
            if text.lower() in _WORDS and text in (text.lower(), text.capitalize(), text.upper()):
                return _WORDS[text.lower()]
            if _INTEGER.fullmatch(text):
                return int(text)
            if _DECIMAL.fullmatch(text):
                return float(text)
        try:
            value = interpolate(text, self._environ)
            value.encode()
        except UnresolvedError as error:
            self._places.fault(place, path, str(error), error.hint, settles=True)
        except UnicodeEncodeError:  # "\ud800" in the file, or a variable whose bytes are not UTF-8
            self._places.fault(place, path, "it holds half a character", "expected valid Unicode", settles=True)
        else:
            return value
        return "unresolved-{}-{}".format(*place)  # passes for a key, and for no other's
