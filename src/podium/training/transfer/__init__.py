"""Runs that start from weights, from a teacher or from frozen features."""
