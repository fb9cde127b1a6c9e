from dataclasses import fields

from proxy.observe.counts import TOKEN_TYPES, USUAL_TYPES
from proxy.wire.usage import Usage


def test_every_part_of_a_usage_has_a_type_of_its_own() -> None:
    assert set(TOKEN_TYPES) == {field.name for field in fields(Usage)}
    assert len(set(TOKEN_TYPES.values())) == len(TOKEN_TYPES)
    assert set(TOKEN_TYPES.values()) >= USUAL_TYPES
