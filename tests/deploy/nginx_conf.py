"""nginx's format: directives that end with `;` or hold others in braces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_WORD: Final = re.compile(r"\s*(?:#[^\n]*\n\s*)*(?:'([^']*)'|\"([^\"]*)\"|([{};])|([^\s{};'\"]+))")


@dataclass
class Directive:
    """`name arguments…;` or `name arguments… { inner }`."""

    name: str
    arguments: list[str]
    inner: list[Directive] = field(default_factory=list)

    def all(self, name: str) -> list[Directive]:
        """The directives of this name directly in this one."""
        return [directive for directive in self.inner if directive.name == name]

    def only(self, name: str) -> list[str]:
        """The arguments of the one directive of this name."""
        (found,) = self.all(name)
        return found.arguments

    def deep(self, name: str) -> Iterator[Directive]:
        """Those of this name, however deep."""
        for directive in self.inner:
            if directive.name == name:
                yield directive
            yield from directive.deep(name)


def parse(text: str) -> Directive:
    """The whole file, as the inside of one directive. Raises ValueError where it makes no sense."""
    root = Directive("", [])
    open_ones, words = [root], list[str]()
    for quoted, mark in _words(text):
        if mark is None:
            words.append(quoted)
        elif mark == "}":
            if words or len(open_ones) == 1:
                raise ValueError(f"unexpected }} after {words or 'nothing'}")
            open_ones.pop()
        else:
            if not words:
                raise ValueError(f"unexpected {mark}")
            directive = Directive(words[0], words[1:])
            open_ones[-1].inner.append(directive)
            words = []
            if mark == "{":
                open_ones.append(directive)
    if words or len(open_ones) > 1:
        raise ValueError(f"the end is missing after {words or open_ones[-1].name}")
    return root


def _words(text: str) -> Iterator[tuple[str, str | None]]:
    """Each word, or each of the three marks."""
    at, end = 0, len(re.sub(r"(?:\s|#[^\n]*(?:\n|$))+$", "", text))
    while at < end:
        found = _WORD.match(text, at)
        if found is None:
            raise ValueError(f"cannot be read: {text[at : at + 40]!r}")
        single, double, mark, bare = found.groups()
        yield next(word for word in (single, double, bare, "") if word is not None), mark
        at = found.end()
