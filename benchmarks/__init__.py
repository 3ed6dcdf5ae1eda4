"""Measured comparisons: `speech bench NAME`, or `python -m benchmarks.run NAME`."""
