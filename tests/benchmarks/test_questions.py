from benchmarks.questions import question


def test_a_number_always_stands_for_the_same_question_in_two_wordings() -> None:
    assert question(0) == "How do I cancel my subscription in Berlin for 3 people?"
    assert question(0, 1) == "What are the steps to end a subscription contract in Berlin for 3 people?"
    assert question(1) == "在柏林供3人使用怎样取消我的订阅？"


def test_different_numbers_stand_for_different_questions() -> None:
    texts = {question(number, wording) for number in range(20_000) for wording in (0, 1)}
    assert len(texts) == 40_000
