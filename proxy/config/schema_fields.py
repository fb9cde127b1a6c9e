"""What all parts of the schema have in common."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    WithJsonSchema,
)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_MIN_KEY_CHARS: Final = 16
_MASK: Final = "**********"
#: Everything up to the last @ before the path may be a password.
_USER: Final = re.compile(r"^([A-Za-z0-9+.-]+://)[^/]*@")
#: Redis' URLs may have another, for the sentinels, behind the question mark.
_OPTION: Final = re.compile(r"([?&][^=&]*password=)[^&]*", re.IGNORECASE)


class Section(BaseModel):
    """A mapping of the config. Unknown keys are faults, and nothing can be changed after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def written(default: str, *, description: str, alias: str | None = None) -> Any:
    """A field whose default is written as the file would write it: so an editor that offers it offers what holds."""
    return Field(default, validate_default=True, alias=alias, description=description)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _address(value: Any) -> Address:
    if isinstance(value, Address):
        return value
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\s\[\]]+):([0-9]{1,5})", value) if isinstance(value, str) else None
    if found is None or int(found.group(2)) > 65_535:
        raise ValueError('expected "host:port" such as "127.0.0.1:8080"')
    return Address(found.group(1).strip("[]"), int(found.group(2)))


def is_name(value: str) -> bool:
    """May a provider, a model, a team or a key be called that?"""
    return _NAME.fullmatch(value) is not None


def _name(value: str) -> str:
    if not is_name(value):
        raise ValueError("expected a name of letters, digits and . _ : / -, at most 128 characters")
    return value


def _printable(value: str) -> str:
    if not (0 < len(value) <= 256 and value.isascii() and value.isprintable()):
        raise ValueError("expected 1 to 256 printable ASCII characters")
    return value


def _text(value: Any) -> Any:
    # YAML reads 123 as a number and `no` as a boolean: a name or key written like that was meant as text.
    if not isinstance(value, str | SecretStr):
        raise ValueError('expected text; put it in quotes, as in "on" or "123"')
    return value


def _mask(value: str) -> str:
    return _MASK


def _mask_user(value: str | None) -> str | None:
    return None if value is None else _OPTION.sub(rf"\1{_MASK}", _USER.sub(rf"\1{_MASK}@", value))


def _client_key(value: SecretStr) -> SecretStr:
    key = value.get_secret_value()
    if len(key) < _MIN_KEY_CHARS or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError(f"expected at least {_MIN_KEY_CHARS} printable ASCII characters without spaces")
    return value


def _credential(value: SecretStr) -> SecretStr:
    key = value.get_secret_value()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("expected printable ASCII characters without spaces, and at least one")
    return value


Text = Annotated[str, BeforeValidator(_text)]
#: What a provider, a model, a team or a key is called here: safe as a metric label and in a header.
Name = Annotated[Text, AfterValidator(_name)]
#: What something is called elsewhere.
Printable = Annotated[Text, AfterValidator(_printable)]
Listen = Annotated[
    Address,
    BeforeValidator(_address),
    WithJsonSchema({"type": "string", "pattern": r"^\S+:[0-9]{1,5}$", "examples": ["127.0.0.1:8080"]}),
]
#: A key of ours, which clients or operators send.
ClientKey = Annotated[SecretStr, BeforeValidator(_text), AfterValidator(_client_key)]
#: A provider's key, which we send.
Credential = Annotated[SecretStr, BeforeValidator(_text), AfterValidator(_credential)]
#: Text that nothing may show: not a dump, and with `repr=False` no repr.
Hidden = Annotated[Text, PlainSerializer(_mask)]
#: A URL whose user and password nothing may show; again with `repr=False`.
UrlWithUser = Annotated[Text, PlainSerializer(_mask_user)]
