"""Reading a config that the schema has not seen yet: what is not of the shape that is looked for counts as empty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Data = Mapping[str, object]


def as_mapping(value: object) -> Data:
    """The mapping, or an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """The list, or an empty one."""
    return value if isinstance(value, list) else []


def entries(parent: Data, name: str) -> Iterator[tuple[int, Data]]:
    """The mappings in the list of that name, with their places."""
    for index, entry in enumerate(as_list(parent.get(name))):
        yield index, as_mapping(entry)


def sections(parent: Data) -> Iterator[tuple[str, Data]]:
    """The mappings below a mapping, with their names."""
    for name, value in parent.items():
        yield name, as_mapping(value)
