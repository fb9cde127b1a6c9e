"""`${VAR}` and `${VAR:-default}` in the config's values. `$${` stands for a literal `${`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^}]*)\}|\$\{")
_VARIABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class UnresolvedError(Exception):
    """A reference that cannot be resolved. The message names the variable and never a value."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """The text with every reference replaced. An empty variable counts as missing; what a variable holds is not looked
    at for references again. Raises UnresolvedError.
    """
    if "${" not in text:
        return text

    def replace(found: re.Match[str]) -> str:
        if found.group() == "$${":
            return "${"
        parts = _VARIABLE.fullmatch(found.group(1) or "")
        if parts is None or "${" in found.group(1):
            raise UnresolvedError("a reference reads ${VAR} or ${VAR:-default}", "a literal ${ is written $${")
        name, default = parts.groups()
        value = environ.get(name) or default
        if value is None:
            state = "empty" if name in environ else "not set"
            hint = f"set it, or give a default: ${{{name}:-default}}"
            raise UnresolvedError(f"the environment variable {name} is {state}", hint)
        return value

    return _REFERENCE.sub(replace, text)
