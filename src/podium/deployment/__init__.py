"""A trained network out into the world: exported files, and what runs them without torch."""
