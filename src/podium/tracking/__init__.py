"""Tracking: what runs write into their folders, sent to MLflow and TensorBoard where a person wants that."""
