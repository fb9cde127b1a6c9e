"""What a request costs: the gateway measured against a floor of plain parts, and against its peers where they are
installed. `python -m benchmarks --help`; docs/performance.md says how to read the figures.
"""
