"""Which pairs of networks a ranking is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nasbench.auditing.agreement import pair_indices

SIMILAR = 1.5  # in cost: the larger has at most so many times the multiply-adds
DECIDABLE = 1.5  # points of accuracy apart

# Key -> what the pairs have in common.
GROUPS = {
    "all": "all pairs",
    "within": "within families",
    "similar": f"different families, MACs within x {SIMILAR:g}",
    "decidable": f"{DECIDABLE:g} points apart or more",
    "decidable_similar": f"different families, MACs within x {SIMILAR:g}, {DECIDABLE:g} points apart",
}


@dataclass(frozen=True)
class Ranked:
    """What tells pairs of networks apart: their families, their multiply-adds, and the truth in points of accuracy."""

    families: Sequence[str]
    macs: np.ndarray
    truth: np.ndarray

    def groups(self) -> dict[str, np.ndarray]:
        """Key of `GROUPS` -> mask over the pairs."""
        first, second = pair_indices(len(self.truth))
        names, cost = np.asarray(list(self.families)), np.log(self.macs)
        same = names[first] == names[second]
        similar = ~same & (np.abs(cost[first] - cost[second]) <= np.log(SIMILAR) + 1e-12)
        # Values are printed with two decimals: 1.5 apart must not fail by what a difference of floats adds.
        decidable = np.abs(self.truth[first] - self.truth[second]) >= DECIDABLE - 1e-9
        return {
            "all": np.ones(len(first), bool),
            "within": same,
            "similar": similar,
            "decidable": decidable,
            "decidable_similar": similar & decidable,
        }
