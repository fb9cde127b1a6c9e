import base64
import math
import struct
from typing import Any

import orjson
import pytest
from openai.types import CreateEmbeddingResponse

from proxy.providers.simulated import BadRequestError, embed


def answer(**fields: Any) -> tuple[dict[str, Any], int]:
    body, tokens = embed(orjson.dumps({"model": "demo-embed", "input": "Hello", **fields}))
    return orjson.loads(body), tokens


def vectors(**fields: Any) -> list[list[float]]:
    return [entry["embedding"] for entry in answer(**fields)[0]["data"]]


def test_an_answer_is_openais() -> None:
    body, tokens = embed(orjson.dumps({"model": "demo-embed", "input": ["Hello", "there"]}))
    read = CreateEmbeddingResponse.model_validate_json(body, strict=True)
    assert [len(one.embedding) for one in read.data] == [1536, 1536]
    assert [one.index for one in read.data] == [0, 1]
    assert read.usage.total_tokens == tokens == 4


def test_the_same_input_has_the_same_unit_vector_whatever_is_beside_it() -> None:
    [one] = vectors(dimensions=256)
    assert math.isclose(sum(value * value for value in one), 1.0)
    assert vectors(dimensions=256, input=["other", "Hello"])[1] == one
    assert vectors(dimensions=256, input="hello") != [one]
    assert vectors(dimensions=256, model="another") != [one]


def test_tokens_are_inputs_too() -> None:
    body, tokens = answer(input=[1, 2, 3])
    assert (len(body["data"]), tokens) == (1, 3)
    body, tokens = answer(input=[[1, 2, 3], [4]])
    assert (len(body["data"]), tokens) == (2, 4)


def test_base64_is_the_same_vector() -> None:
    [coded] = vectors(dimensions=4, encoding_format="base64")
    floats = struct.unpack("<4f", base64.b64decode(str(coded)))
    assert floats == pytest.approx(vectors(dimensions=4)[0])


@pytest.mark.parametrize(
    "fields",
    [
        {"model": ""},
        {"input": None},
        {"input": ""},
        {"input": []},
        {"input": [""]},
        {"input": [[]]},
        {"input": [1.5]},
        {"input": ["a", 1]},
        {"input": 7},
    ],
)
def test_what_is_no_request_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError):
        answer(**fields)


@pytest.mark.parametrize("dimensions", [0, -1, 4097, "8", 1.5])
def test_dimensions_have_bounds(dimensions: object) -> None:
    with pytest.raises(BadRequestError) as caught:
        answer(dimensions=dimensions)
    assert caught.value.param == "dimensions"
