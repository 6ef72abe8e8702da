"""Explanation: where in an image an answer comes from, what filters and feature maps look like, and which training images are alike."""
