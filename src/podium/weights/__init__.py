"""Weights of other libraries: fetched, opened and matched to our networks."""
