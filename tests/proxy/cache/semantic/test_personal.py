import pytest

from proxy.cache.semantic.personal import is_iban, is_resident, names_a_person, passes_luhn


@pytest.mark.parametrize(
    "text",
    [
        "Why did jane.doe+x@mail.example.org get no answer?",
        "Is card 4111 1111 1111 1111 blocked?",
        "Is card 4111-1111-1111-1111 blocked?",
        "Who called from +44 20 7946 0958?",
        "My phone 02079460958 does not ring",
        "Pay to GB82 WEST 1234 5698 7654 32 please",
        "身份证11010519491231002X怎么查",
        "我的手机号是13812345678，怎么换绑",
        "SSN 123-45-6789, what is due?",
        "(415) 555-0132 is whose number?",
    ],
)
def test_who_can_be_found_is_noticed(text: str) -> None:
    assert names_a_person(text)


@pytest.mark.parametrize(
    "text",
    [
        "What is 12345 times 6789?",
        "Is 4111111111111112 a valid card number?",
        "How is 110105194912310021 checked?",
        "How do I send mail @ work?",
        "What happened on 2024-03-05 and 2024-03-06?",
        "Is 3.14159265358979 pi?",
        "Is 1,000,000,000 a billion?",
        "GB00WEST12345698765432 is wrong, why?",
        "",
    ],
)
def test_other_numbers_name_nobody(text: str) -> None:
    assert not names_a_person(text)


def test_checksums() -> None:
    assert passes_luhn("79927398713")
    assert not passes_luhn("79927398710")
    assert is_iban("DE89 3704 0044 0532 0130 00")
    assert not is_iban("DE88 3704 0044 0532 0130 00")
    assert not is_iban("DE8937")
    assert is_resident("11010519491231002x")
    assert not is_resident("11010519491331002X")
