import pathlib
import re
from collections.abc import Iterator

import pytest

from proxy.config.faults import Path
from proxy.config.schema import _known_keys, json_schema
from proxy.config.unserved import _UNSERVED, unserved

PATTERNS = [".".join(pattern) for pattern, _ in _UNSERVED]


@pytest.mark.parametrize(
    ("data", "path", "word"),
    [
        ({"server": {"trusted_proxies": ["10.0.0.0/8"]}}, ("server", "trusted_proxies"), "not act"),
    ],
)
def test_a_setting_without_effect_is_named(data: dict[str, object], path: tuple[object, ...], word: str) -> None:
    [(found, message)] = list(unserved(data))
    assert found == path
    assert word in message


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"models": {"m": {"strategy": "round_robin", "rescue": False, "cache": None}}},
        {"models": {"m": {"cache": {"exact": {"ttl": "1h"}, "semantic": None}}}, "cache": {"memory": "64MB"}},
        {"notify": {"webhook": None}},
        {
            "server": {"trusted_proxies": []},
            "teams": {"t": {"limits": {"rpm": 1}, "quotas": [{"usd": 1}]}},
        },
        {"models": "garbage", "teams": [1]},
    ],
)
def test_what_is_off_or_happens_anyway_is_not(data: dict[str, object]) -> None:
    assert list(unserved(data)) == []


def test_every_pattern_is_of_a_setting_that_exists() -> None:
    for pattern in PATTERNS:
        *above, setting = pattern.split(".")
        stars: Iterator[str | int] = iter(["a-name", 0, 0])
        path: Path = tuple(next(stars) if step == "*" else step for step in above)
        assert setting in _known_keys(json_schema(), path), pattern


def test_the_documented_list_is_the_one_in_force() -> None:
    text = (pathlib.Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
    listed = re.findall(r"^- `([^`]+)`$", text.partition("## Accepted, without effect yet")[2], re.MULTILINE)
    assert listed == PATTERNS
