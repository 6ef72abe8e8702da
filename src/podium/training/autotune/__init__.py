"""Measurements before a run: the fastest precision, the largest batch, the time and memory it will take."""
