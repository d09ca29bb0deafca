"""Strategies: which architectures to try next, given the trials so far.

A strategy is a function `propose(space, trials, rng, n, **limits_and_settings) -> list[Architecture]`. It keeps nothing
between calls, so that going on after a stop is reading the trials again. It proposes at most `n` architectures that
meet the budgets and are in no trial yet; fewer when the space has no more. To add one, add its line here.
"""

from __future__ import annotations

from nasbench.strategies import evolution, random
from nasbench.strategies.candidate import Candidate, Space

__all__ = ["STRATEGIES", "Candidate", "Space"]

STRATEGIES = {
    "random": random.propose,
    "evolution": evolution.propose,
}
