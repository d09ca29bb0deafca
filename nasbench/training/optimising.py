"""A recipe's optimiser, with rates by depth, its schedule, frozen stages, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from nasbench.errors import UserError
from nasbench.nn.model import Model
from nasbench.proxy.masked import MaskedImageModel
from nasbench.proxy.muon import Muon, is_matrix
from nasbench.proxy.train import decaying
from nasbench.training.recipe import TrainingRecipe

BETA2 = 0.999  # AdamW's own default
AVERAGED_FROM = 10.0  # steps of the warm-up of the moving average's decay, as in timm's EMA


def make_optimiser(model: nn.Module, recipe: TrainingRecipe) -> torch.optim.Optimizer:
    """AdamW or Muon over the parameters that are not frozen. Only weights of two or more dimensions decay; with
    `layer_decay` below 1 the rate falls from block to block towards the image."""
    groups = _groups(model, recipe)
    if recipe.optimiser == "muon":
        optimiser: torch.optim.Optimizer = Muon(groups, recipe.lr, recipe.momentum)
    else:
        optimiser = torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, BETA2))
    for group in optimiser.param_groups:
        group["lr"] *= group["share"]
    return optimiser


def _groups(model: nn.Module, recipe: TrainingRecipe) -> list[dict[str, Any]]:
    """Parameter groups: by depth, by weight decay, and for Muon by whether they are matrices."""
    weights = {id(p) for p in decaying(model)[0]}
    parts = _parts(model)
    found: dict[tuple[int, bool, bool], dict[str, Any]] = {}
    for depth, part in enumerate(parts):
        behind = len(parts) - 1 - depth if recipe.layer_decay < 1 else 0
        for parameter in part:
            if not parameter.requires_grad:
                continue
            decays = id(parameter) in weights
            matrix = recipe.optimiser == "muon" and decays and is_matrix(parameter)
            empty = {
                "params": [],
                "weight_decay": recipe.weight_decay if decays else 0.0,
                "share": recipe.layer_decay**behind,
                **({"matrices": matrix} if recipe.optimiser == "muon" else {}),
            }
            found.setdefault((behind, decays, matrix), empty)["params"].append(parameter)
    return list(found.values())


def _parts(model: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters from the image on: stem, each block, head (the decoder in masked training)."""
    if isinstance(model, MaskedImageModel):
        return [*_parts(model.encoder)[:-1], [*model.decoder.parameters(), model.colour]]
    assert isinstance(model, Model)
    blocks = (block for stage in model.stages for block in stage)
    return [list(part.parameters()) for part in (model.stem, *blocks, model.head)]


def make_schedule(optimiser: torch.optim.Optimizer, recipe: TrainingRecipe, steps_an_epoch: int) -> LambdaLR:
    """Linear warm-up, then a cosine down to `final_lr` of the peak."""
    steps = recipe.epochs * steps_an_epoch
    rising = min(recipe.warmup_epochs * steps_an_epoch, steps / 2)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        done = min(1.0, (step - rising) / max(1.0, steps - rising))
        return recipe.final_lr + (1 - recipe.final_lr) * 0.5 * (1 + math.cos(math.pi * done))

    return LambdaLR(optimiser, share)


def freeze(model: Model, stages: int) -> list[nn.Module]:
    """Freeze the stem and the first `stages` stages -> these parts, whose norms must stay in eval mode."""
    if stages > len(model.stages):
        raise UserError(
            f"frozen_stages = {stages}: {model.arch.label} has {len(model.stages)} stages; freeze at most as many"
        )
    frozen: list[nn.Module] = [model.stem, *list(model.stages)[:stages]] if stages else []
    for part in frozen:
        part.requires_grad_(False)
    return frozen


def moving_average(model: nn.Module, decay: float) -> AveragedModel | None:
    """torch's average of weights and norms' statistics, or None for a decay of 0."""
    return AveragedModel(model, multi_avg_fn=_averaging(decay), use_buffers=True) if decay else None


def _averaging(decay: float) -> Callable[[Any, Any, Any], None]:
    """An exponential moving average whose decay is warmed up over the first steps."""

    @torch.no_grad()
    def average(averages: Any, current: Any, seen: Any) -> None:
        count = float(seen)
        kept = min(decay, (1 + count) / (AVERAGED_FROM + count))
        if torch.is_floating_point(averages[0]):
            torch._foreach_lerp_(list(averages), list(current), 1 - kept)
        else:
            torch._foreach_copy_(list(averages), list(current))

    return average
