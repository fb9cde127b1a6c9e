"""From the text of a YAML file to a Config, or to every fault in it with its line and column. The only file that
knows YAML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path as FilePath
from typing import Final, cast

import yaml

from proxy.config.detect import merge
from proxy.config.faults import ConfigFaults, Fault, Path, display_key, display_path, suggest
from proxy.config.interpolate import UnresolvedError, interpolate
from proxy.config.schema import Config, SchemaFault, masked, validate
from proxy.config.verify import Finding, verify

_MAX_FILE_BYTES: Final = 1_000_000
_MAX_DEPTH: Final = 40
#: Nodes after every alias has been expanded: aliases may save typing, not build bombs.
_MAX_NODES: Final = 100_000
_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "map", "seq")
)
_INTEGER: Final = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
_DECIMAL: Final = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
_WORDS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A config that holds."""

    config: Config
    warnings: tuple[Fault, ...]
    config_hash: str  #: 12 hex digits of what the config says, secrets left out


@dataclass(slots=True)
class _Reading:
    """One file being read: its faults, and where each path stands."""

    file: str
    environ: Mapping[str, str]
    faults: list[Fault] = field(default_factory=list)
    keys: dict[Path, yaml.Mark] = field(default_factory=dict)
    values: dict[Path, yaml.Mark] = field(default_factory=dict)

    def fault(self, mark: yaml.Mark, path: Path, message: str, hint: str = "") -> None:
        self.faults.append(Fault(self.file, mark.line + 1, mark.column + 1, display_path(path), message, hint))

    def mark_of(self, path: Path, *, key: bool = False) -> yaml.Mark:
        """Where a path stands; the nearest mapping or list around it if it is not in the file itself."""
        while path not in self.values and path:
            path, key = path[:-1], True
        return self.keys[path] if key and path in self.keys else self.values[path]


def load(path: FilePath, environ: Mapping[str, str], added: Mapping[str, object] | None = None) -> Loaded:
    """The config in a file. Raises ConfigFaults with all that is wrong.

    `environ` is what `${VAR}` refers to; `added` is merged into the top level's mappings.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ConfigFaults([Fault(str(path), 1, 1, "", f"the file exceeds {_MAX_FILE_BYTES:,} bytes")])
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigFaults([Fault(str(path), 1, 1, "", f"the file cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigFaults([Fault(str(path), 1, 1, "", f"the file is not UTF-8 (byte {error.start})")]) from None
    return load_text(text, environ, str(path), added)


def load_text(text: str, environ: Mapping[str, str], file: str, added: Mapping[str, object] | None = None) -> Loaded:
    """As `load`, from a text that is called `file`."""
    reading = _Reading(file, environ)
    data = _read(reading, text)
    if added and isinstance(data, dict):
        data = merge(data, added)
    findings = verify(data)
    warnings: list[Fault] = []
    for finding in findings:
        fault = _locate(reading, finding)
        (warnings if finding.is_warning else reading.faults).append(fault)
    checked = validate(data)
    if isinstance(checked, list):
        for schema_fault in checked:
            _report(reading, schema_fault)
    if reading.faults or isinstance(checked, list):
        raise ConfigFaults(_without_echoes(reading.faults))
    return Loaded(checked, tuple(sorted(warnings)), sha256(masked(checked)).hexdigest()[:12])


def _read(reading: _Reading, text: str) -> object:
    """The file as plain data. Raises ConfigFaults where reading on makes no sense."""
    try:
        _check_depth(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        reading.faults.append(
            Fault(reading.file, line, column, "", f"not valid YAML: {error.problem or error.context}")
        )
        raise ConfigFaults(reading.faults) from None
    except yaml.YAMLError:
        reading.faults.append(Fault(reading.file, 1, 1, "", "not valid YAML: it holds a character that is not allowed"))
        raise ConfigFaults(reading.faults) from None
    if not isinstance(node, yaml.MappingNode):
        reading.faults.append(
            Fault(reading.file, 1, 1, "", "the file must hold a mapping", "it begins with 'version: 1'")
        )
        raise ConfigFaults(reading.faults)
    if _count(node, {}, set()) > _MAX_NODES:
        reading.fault(node.start_mark, (), f"aliases expand it to more than {_MAX_NODES:,} nodes")
        raise ConfigFaults(reading.faults)
    return _build(reading, node, ())


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                problem = f"nested deeper than {_MAX_DEPTH} levels"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=cast("yaml.error.Mark", event.start_mark))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _count(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """Nodes below and including this one, as often as aliases repeat them; more than allowed for a circle."""
    if id(node) in above:
        return _MAX_NODES + 1
    if id(node) not in known:
        below = above | {id(node)}
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        flat = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
        known[id(node)] = min(_MAX_NODES + 1, 1 + sum(_count(child, known, below) for child in flat))
    return known[id(node)]


def _build(reading: _Reading, node: yaml.Node, path: Path) -> object:
    reading.values[path] = node.start_mark
    if node.tag not in _TAGS:
        reading.fault(node.start_mark, path, "YAML tags and merge keys are not supported")
        return None
    if isinstance(node, yaml.SequenceNode):
        return [_build(reading, child, (*path, index)) for index, child in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(reading, node, path)
    assert isinstance(node, yaml.ScalarNode), "there is no other kind of node"
    return _scalar(reading, node, path)


def _build_mapping(reading: _Reading, node: yaml.MappingNode, path: Path) -> dict[str, object]:
    built: dict[str, object] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            reading.fault(key_node.start_mark, path, "a key must be plain text")
            continue
        key = key_node.value
        below = (*path, key)
        if key in built:
            first = reading.keys[below]
            reading.fault(key_node.start_mark, below, "the key is there twice", f"first in line {first.line + 1}")
            continue
        reading.keys[below] = key_node.start_mark
        built[key] = _build(reading, value_node, below)
    return built


def _scalar(reading: _Reading, node: yaml.ScalarNode, path: Path) -> object:
    """YAML 1.1 reads `no` as false, `22:22` as 1342 and `0123` as 83; here only what looks like a number is one."""
    text: str = node.value
    if node.style is None:
        if text.lower() in _WORDS and text in (text.lower(), text.capitalize(), text.upper()):
            return _WORDS[text.lower()]
        if _INTEGER.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text):
            return float(text)
    try:
        return interpolate(text, reading.environ)
    except UnresolvedError as error:
        reading.fault(node.start_mark, path, str(error), "set it, or give a default: ${VAR:-default}")
        return _UNRESOLVED


#: Takes the place of what could not be resolved; passes for a key, so that it is complained of only once.
_UNRESOLVED: Final = "unresolved-reference"


def _locate(reading: _Reading, finding: Finding) -> Fault:
    mark = reading.mark_of(finding.path, key=finding.at_key)
    return Fault(
        reading.file, mark.line + 1, mark.column + 1, display_path(finding.path), finding.message, finding.hint
    )


def _report(reading: _Reading, fault: SchemaFault) -> None:
    if fault.kind == "unknown":
        key = str(fault.path[-1])
        hint = suggest(key, fault.known)
        reading.fault(reading.mark_of(fault.path, key=True), fault.path[:-1], f"unknown key '{display_key(key)}'", hint)
    elif fault.kind == "missing":
        reading.fault(reading.mark_of(fault.path[:-1], key=True), fault.path[:-1], fault.message)
    else:
        path = fault.path
        while path and path not in reading.values:  # pydantic names the members of unions too
            path = path[:-1]
        reading.fault(reading.mark_of(path, key=fault.kind == "key"), path, fault.message)


def _without_echoes(faults: list[Fault]) -> list[Fault]:
    """Where a reference is unresolved, only that is said of its place."""
    unresolved = {(fault.line, fault.column) for fault in faults if "environment variable" in fault.message}
    kept = [
        fault
        for fault in faults
        if (fault.line, fault.column) not in unresolved or "environment variable" in fault.message
    ]
    return sorted(set(kept))
