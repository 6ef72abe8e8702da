"""Weights of other libraries: downloading their files, reading them, and loading them into our networks."""
