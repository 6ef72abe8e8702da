"""Deployment: exported files, and what runs them without torch."""
