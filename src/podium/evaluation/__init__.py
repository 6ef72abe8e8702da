"""Evaluation: from a network and a split to logits, metrics, cost and speed."""
