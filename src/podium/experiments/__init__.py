"""Claims: what papers and articles say of these networks, as experiments with a verdict each."""
