"""Recorded traffic for simulations: when requests came and how long they and their answers were. No text.

The files come with the package; proxy/cli/traces/README.md says where they are from and under which licence.
"""

from proxy.cli.trace import TraceName, load

__all__ = ["TraceName", "load"]
