"""Models and data become a run."""
