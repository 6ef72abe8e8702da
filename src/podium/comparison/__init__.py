"""Comparison: many networks trained on the same images, ranked in one table and one report."""
