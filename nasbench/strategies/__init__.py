"""Strategies: which architectures to try next, given the trials so far. `choice.STRATEGIES` lists them."""

from nasbench.strategies.choice import STRATEGIES, Strategy, StrategyChoice
from nasbench.strategies.context import Candidate, Context, Proposals, Searchable

__all__ = ["STRATEGIES", "Candidate", "Context", "Proposals", "Searchable", "Strategy", "StrategyChoice"]
