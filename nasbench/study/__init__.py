"""A study as values: what it looks for, how designs are trained for it, its trials, and the file that keeps them."""
