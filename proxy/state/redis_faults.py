"""What a Redis means when it answers with an error. Only an error's kind is ever repeated: its text may hold what was
sent, a key or part of a prompt.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.state.base import StateAway, StateFailed

#: The server is not the one to ask just now. A connection to it is given up: the next may lead to another.
LOSING: Final = frozenset(("READONLY", "LOADING", "MASTERDOWN", "BUSY", "NOAUTH", "UNBLOCKED"))
#: It can't do this just now, and its connection is as good as any.
_NOT_NOW: Final = {
    "OOM": "Redis is full",
    "MISCONF": "Redis takes no writes, as it can't save them",
    "NOREPLICAS": "Redis takes no writes, as it has too few replicas",
    "CLUSTERDOWN": "Redis' cluster is down",
    "TRYAGAIN": "Redis is moving these keys",
    "ASK": "Redis' cluster is changing",
}
_KIND: Final = re.compile(r"[A-Z][A-Z_]*(?= |$)")
#: Before version 7 a script's errors are wrapped: `ERR Error running script (call to f_…): @user_script:1: -OOM …`.
_WRAPPED: Final = re.compile(r"ERR Error running script .*?: -([A-Z]+) ")
_LINE: Final = re.compile(r"user_script:\s?(\d+)")


def kind_of(text: str) -> str:
    """The kind of an error, such as OOM or ERR."""
    wrapped = _WRAPPED.match(text)
    if wrapped is not None:
        return wrapped[1]
    kind = _KIND.match(text)
    return "ERR" if kind is None else kind[0]


def fault_of(kind: str, text: str, what: str) -> StateFailed:
    """What whoever sent `what` is told of an error of that kind."""
    if kind in LOSING:
        return StateAway(f"Redis says {kind}")
    if kind in _NOT_NOW:
        return StateAway(_NOT_NOW[kind])
    line = _LINE.search(text)
    return StateFailed(f"Redis refused {what}: {kind}" + (f", line {line[1]} of the script" if line else ""))


def away() -> StateAway:
    """Nothing is sent, as there is no connection."""
    return StateAway("Redis can't be asked just now")
