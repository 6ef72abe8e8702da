"""Networks drawn as their papers' figures draw them."""
