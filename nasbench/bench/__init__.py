"""Strategies replayed offline on tables of trained networks, or on a surrogate of nasbench's own."""
