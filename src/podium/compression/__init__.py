"""A smaller network from a trained one."""
