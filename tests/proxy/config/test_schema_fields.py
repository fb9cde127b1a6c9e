import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.config.schema_fields import Address, ClientKey, Credential, Listen, Name, Printable


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
        ("localhost:65535", Address("localhost", 65535)),
        ("[::1]:8080", Address("::1", 8080)),
    ],
)
def test_an_address_is_host_and_port(text: str, address: Address) -> None:
    assert TypeAdapter(Listen).validate_python(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["8080", 8080, ":8080", "host:", "host:65536", "::1:8080", "http://h:1", "a b:1", "h:٨٠", "h:-1", None, ""]
)
def test_anything_else_is_no_address(text: object) -> None:
    with pytest.raises(ValidationError, match="host:port"):
        TypeAdapter(Listen).validate_python(text)


@pytest.mark.parametrize("name", ["chat", "gpt-4o-mini", "org/model:v1", "A.b_c"])
def test_names_are_safe_as_labels_and_in_headers(name: str) -> None:
    assert TypeAdapter(Name).validate_python(name) == name


@pytest.mark.parametrize("name", ["", "-x", "a b", "a\nb", "é", "x" * 129, 7, True, None])
def test_other_names_are_refused(name: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(name)


@pytest.mark.parametrize("text", ["", "x" * 257, "a\r\nb", "é"])
def test_what_goes_upstream_is_printable_ascii(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Printable).validate_python(text)


@pytest.mark.parametrize(
    "key", ["short", "x" * 15, "has a space in it 123", "tab\tin-a-long-key", "é" * 20, 12345678901234567890]
)
def test_a_weak_or_odd_client_key_is_refused_and_not_repeated(key: object) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(ClientKey).validate_python(key)
    assert str(key) not in str(caught.value.errors(include_input=False))


def test_a_secret_is_never_shown() -> None:
    key = TypeAdapter(Credential).validate_python("sk-secret-123")
    assert "secret-123" not in f"{key!r}{key}"
    assert key.get_secret_value() == "sk-secret-123"
