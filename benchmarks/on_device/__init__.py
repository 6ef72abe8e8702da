"""The parts of `benchmarks/device.py`."""
