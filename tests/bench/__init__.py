"""Benchmarks: each measures ours and its limit in one run and prints ratios. `mandi bench NAME [--json]`."""
