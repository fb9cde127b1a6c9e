from collections.abc import Callable, Sequence

import numpy as np
import pytest

from proxy.cache.nearest.base import Vectors
from proxy.cache.nearest.vectors import DIMS, load_encoder

Encode = Callable[[Sequence[str]], Vectors]


@pytest.fixture(scope="module")
def encode() -> Encode:
    return load_encoder()


def test_vectors_have_unit_length_and_the_stated_form(encode: Encode) -> None:
    vectors = encode(["How do I cancel my order?", "", " ", "?", "取消订单", "😀" * 50])
    assert vectors.shape == (6, DIMS)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


def test_what_means_the_same_is_near_in_another_language_too(encode: Encode) -> None:
    asked, same, chinese, other = encode(
        [
            "How do I cancel my order?",
            "How can I cancel an order?",
            "怎样取消我的订单？",
            "What is the height of Everest?",
        ]
    )
    assert asked @ same > 0.8
    assert asked @ chinese > 0.6
    assert asked @ other < 0.4


def test_a_text_has_the_same_vector_alone_and_among_others(encode: Encode) -> None:
    texts = ["one question", "another question altogether", "第三个问题"]
    together = encode(texts)
    for vector, text in zip(together, texts, strict=True):
        assert np.allclose(encode([text])[0], vector, atol=1e-5)
