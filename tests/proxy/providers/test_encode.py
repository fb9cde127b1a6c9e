from typing import Any

import orjson

from proxy.providers.dialects import DIALECTS
from proxy.providers.encode import encode
from proxy.wire.chat import parse_chat_request
from proxy.wire.embeddings import parse_embeddings_request


def chat(**fields: Any) -> Any:
    return parse_chat_request(
        orjson.dumps({"model": "chat", "messages": [{"role": "developer", "content": "Hi"}], **fields})
    )


def test_the_target_is_asked_for_its_own_model_and_the_rest_travels_untouched() -> None:
    sent = orjson.loads(encode(DIALECTS["openai"], "theirs", chat(top_k=7)))
    assert sent == {"model": "theirs", "messages": [{"role": "developer", "content": "Hi"}], "top_k": 7}


def test_a_dialects_quirks_are_minded() -> None:
    request = chat(max_completion_tokens=5, stream=True)
    sent = orjson.loads(encode(DIALECTS["deepseek"], "theirs", request))
    assert (sent["max_tokens"], sent["messages"][0]["role"]) == (5, "system")
    assert sent["stream_options"] == {"include_usage": True}
    assert "max_tokens" not in request.body


def test_a_request_for_embeddings_has_no_quirks() -> None:
    body = {
        "model": "embed",
        "input": ["a", "b"],
        "dimensions": 4,
        "encoding_format": "base64",
        "max_completion_tokens": 1,
    }
    request = parse_embeddings_request(orjson.dumps(body))
    assert orjson.loads(encode(DIALECTS["deepseek"], "theirs", request)) == {**body, "model": "theirs"}
