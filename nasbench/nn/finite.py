"""Whether all numbers in a network are finite."""

from __future__ import annotations

from torch import nn

from nasbench.errors import UserError

NAMED = 5  # damaged weights in one line


def damage(model: nn.Module) -> str:
    """Which weights and statistics hold a number that is NaN or infinite, in words; empty where none does."""
    damaged = [key for key, tensor in model.state_dict().items() if not tensor.isfinite().all()]
    more = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
    return f"weights that are NaN or infinite: {', '.join(damaged[:NAMED])}{more}" if damaged else ""


def require_finite(model: nn.Module, source: object = "") -> None:
    """A UserError that names `source` and what is damaged of the network."""
    told = damage(model)
    if told:
        place = f"{source}: " if source else ""
        raise UserError(f"{place}{told}; a training that diverged leaves such: give weights saved before that")
