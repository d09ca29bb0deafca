"""Strategies replayed offline on networks that are trained already: tables of others, or a surrogate of our own."""
