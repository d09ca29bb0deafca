"""Shipped networks and spaces, read once for all tests: a space keeps what it has worked out."""

from nasbench.arch.library import fixed_points
from nasbench.space.shipped import load_space

FIXED = fixed_points()
DEFAULT, SMALL = load_space("metablock"), load_space("small")
