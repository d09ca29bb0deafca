"""A search as it runs: what to train next, what to measure meanwhile, what to tell the user."""
