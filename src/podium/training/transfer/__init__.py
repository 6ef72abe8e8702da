"""Runs that start from trained weights, imitate a teacher, or train a head on frozen features."""
