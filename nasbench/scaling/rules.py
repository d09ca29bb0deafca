"""Scaling rules: how much depth, width and resolution grow when a design may cost `s` times as much.

A rule is three shares that add up to one. Multiply-adds grow with depth, and with the square of width and of
resolution, so shares (d, w, r) give depth s^d, width s^(w/2) and resolution s^(r/2): their cost is s each time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nasbench.errors import UserError, shown


@dataclass(frozen=True)
class Factors:
    """What depth, width (channels) and resolution are multiplied by."""

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0


@dataclass(frozen=True)
class Rule:
    """Shares of the added cost that go into depth, width and resolution; `source` says where they come from."""

    name: str
    depth: float
    width: float
    resolution: float
    source: str = ""

    def __post_init__(self) -> None:
        shares = (self.depth, self.width, self.resolution)
        if min(shares) < 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
            raise ValueError(f"rule {self.name!r}: shares {shares} must be 0 or more and add up to 1")

    def factors(self, scale: float) -> Factors:
        """For `scale` times the multiply-adds."""
        return Factors(scale**self.depth, scale ** (self.width / 2), scale ** (self.resolution / 2))


def _compound(depth: float, width: float, resolution: float) -> tuple[float, float, float]:
    """Shares from the bases of compound scaling, whose cost is depth * width^2 * resolution^2 per step."""
    logs = (math.log(depth), 2 * math.log(width), 2 * math.log(resolution))
    return tuple(value / sum(logs) for value in logs)  # type: ignore[return-value]


RULES = {
    "compound": Rule("compound", *_compound(1.2, 1.1, 1.15), "EfficientNet, arXiv:1905.11946, section 3.3"),
    "fast": Rule("fast", 0.1, 0.8, 0.1, "Dollár et al., arXiv:2103.06877, alpha = 0.8"),
    "width": Rule("width", 0.0, 1.0, 0.0, "width only"),
    "depth": Rule("depth", 1.0, 0.0, 0.0, "depth only"),
    "resolution": Rule("resolution", 0.0, 0.0, 1.0, "resolution only"),
}
SEARCHED = "searched"  # name of a rule whose shares are found for each design, see rule_search.py


def rule_named(name: str) -> Rule:
    """The rule of RULES with this name; UserError for an unknown one."""
    if name not in RULES:
        raise UserError(f"unknown rule {shown(name)}; known rules: {', '.join((*RULES, SEARCHED))}")
    return RULES[name]
