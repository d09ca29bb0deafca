"""Search spaces: an architecture file in which some values are lists, plus constraints across its stages."""

from nasbench.space.limits import RejectionCounter
from nasbench.space.search_space import SearchSpace

__all__ = ["RejectionCounter", "SearchSpace"]
