from proxy.chain import TagReader
from proxy.chain.tags import OTHER


def read(reader: TagReader, value: bytes) -> dict[str, str]:
    return dict(reader.read({b"x-waystation-tags": value}))


def test_declared_tags_are_read_and_others_left_out() -> None:
    reader = TagReader(("env", "feature"))
    assert read(reader, b"env=prod, feature=search box ,team=x") == {"env": "prod", "feature": "search box"}
    assert read(reader, b"env=,feature=a=b,env,,=") == {}
    assert read(reader, b'env=a"b') == {}
    assert read(reader, b"env=" + b"x" * 65) == {}
    assert dict(reader.read({})) == {}


def test_without_declared_keys_nothing_is_read() -> None:
    assert read(TagReader(()), b"env=prod") == {}


def test_a_key_has_a_bounded_number_of_values() -> None:
    reader = TagReader(("env",))
    for number in range(1000):
        assert read(reader, b"env=%d" % number) == {"env": str(number)}
    assert read(reader, b"env=one-more") == {"env": OTHER}
    assert read(reader, b"env=7") == {"env": "7"}


def test_a_header_full_of_commas_is_not_read_to_its_end() -> None:
    reader = TagReader(("env",))
    assert read(reader, b"," * 49 + b"env=prod") == {"env": "prod"}
    assert read(reader, b"," * 50 + b"env=prod") == {}
