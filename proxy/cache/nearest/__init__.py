"""What is near to a text, by meaning and by words, among the texts of its scope. Whether it means the same is judged
elsewhere.
"""

from proxy.cache.nearest.base import Candidate, Embedder, Found, IndexStats, LookupFailed, Remote
from proxy.cache.nearest.opened import open_index

__all__ = ["Candidate", "Embedder", "Found", "IndexStats", "LookupFailed", "Remote", "open_index"]
