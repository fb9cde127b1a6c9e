import orjson

from proxy.wire.answer import read_chat_answer
from proxy.wire.chunks import ChatChunks
from proxy.wire.fixed import fixed_completion, fixed_stream


def test_a_fixed_answer_is_a_completion_that_used_no_tokens() -> None:
    body = fixed_completion("Try again.", id="req_1", model="chat", created=1_700_000_000)
    answer = read_chat_answer(body)
    assert answer.body == body
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (0, 0)
    document = orjson.loads(body)
    assert document["choices"][0]["message"]["content"] == "Try again."
    assert (document["id"], document["model"], document["created"]) == ("req_1", "chat", 1_700_000_000)


def test_a_fixed_stream_needs_no_mending_and_is_complete() -> None:
    for include_usage in (False, True):
        block = fixed_stream("Try again.", id="x", model="m", created=1, include_usage=include_usage)
        chunks = ChatChunks(include_usage)
        assert chunks.feed(block) == block
        assert chunks.complete
        assert (b'"usage":{' in block) is include_usage
