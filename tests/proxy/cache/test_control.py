from math import inf

import pytest

from proxy.cache.control import Control, read_control


@pytest.mark.parametrize(
    ("value", "control"),
    [
        (None, Control()),
        (b"", Control()),
        (b"no-transform, max-stale=5", Control()),
        (b"no-cache", Control(may_find=False)),
        (b"No-Cache", Control(may_find=False)),
        (b"no-store", Control(may_find=False, may_store=False)),
        (b"no-store,no-cache", Control(may_find=False, may_store=False)),
        (b"only-if-cached", Control(only_if_cached=True)),
        (b"only-if-cached, max-age=60", Control(only_if_cached=True, max_age_s=60)),
        (b'max-age="60"', Control(max_age_s=60)),
        (b"max-age=0", Control(may_find=False, max_age_s=0)),
        (b"max-age", Control(may_find=False, max_age_s=0)),
        (b"max-age=-1", Control(may_find=False, max_age_s=0)),
        (b"max-age=" + b"9" * 100, Control(max_age_s=999_999_999)),
    ],
)
def test_the_header_is_read_as_http_has_it(value: bytes | None, control: Control) -> None:
    assert read_control({} if value is None else {b"cache-control": value}) == control


def test_without_it_an_answer_of_any_age_will_do() -> None:
    assert read_control({}).max_age_s == inf
