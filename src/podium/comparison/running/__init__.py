"""How the runs of a comparison are trained: one after the other, side by side in processes, or on a cluster."""
