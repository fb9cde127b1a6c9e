"""Opens the look-up by meaning, for those who have it configured. Nobody else pays for it: numpy, the model and all
that needs them are imported here, on the worker's thread, and nowhere before.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Final

from proxy.cache.nearest.base import Embedder, Remote
from proxy.cache.nearest.worker import Worker

if TYPE_CHECKING:
    from proxy.cache.nearest.index import Index

_ROOM: Final = "proxy.cache.nearest"
#: How many threads numpy's arithmetic takes: read when numpy is imported. What an operator has set counts.
#: With the default, one a core, embedding a short text took 180 ms at p99 on 2 cores, where one thread takes 1.7 ms.
_THREADS: Final = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


async def open_index(budget_bytes: int, wait_s: float, remote: Remote | None = None) -> Index:
    """An index over the local model, or over a provider's. The local one takes 1 s and 145 MB. `wait_s` bounds each
    look-up. Raises whatever goes wrong while importing or loading.
    """
    worker = Worker("meaning")
    is_open = False
    try:
        index = await worker.submit(lambda: _open(worker, budget_bytes, wait_s, remote))
        is_open = True
        return index
    finally:
        if not is_open:
            worker.close()


def _open(worker: Worker, budget_bytes: int, wait_s: float, remote: Remote | None) -> Index:
    """On the worker's thread."""
    for name in _THREADS:
        os.environ.setdefault(name, "1")
    embedder: Embedder
    if remote is None:
        local = import_module(f"{_ROOM}.vectors")
        embedder = import_module(f"{_ROOM}.embedder").LocalEmbedder(
            local.MODEL_ID, local.DIMS, local.load_encoder(), worker
        )
    else:
        embedder = import_module(f"{_ROOM}.remote").RemoteEmbedder(remote, worker)
    index: Index = import_module(f"{_ROOM}.index").Index(embedder, worker, budget_bytes, wait_s)
    return index
