"""Recipes of trainings for use, as values: `runners/recipes/training/NAME.toml`, each figure with its source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from nasbench.errors import UserError, shown
from nasbench.files import data_dir, named_file, parse_toml, read_toml
from nasbench.study.fidelity import MAX_GAIN
from nasbench.values import Value

QUICK = "quick"  # the recipe that a training has unless it names another
MAX_EPOCHS = 10**5
MAX_STAGES = 64


class TrainingRecipe(Value):
    """How a network is trained at full size: schedule, optimiser, start, and what is done to the images.

    No field has a default: a training figure stands in a recipe's file and nowhere else.
    """

    epochs: int = Field(ge=1, le=MAX_EPOCHS)
    batch_size: int = Field(ge=2, le=1 << 16)
    accumulate: int = Field(ge=1, le=1 << 12)  # batches whose gradients make one step
    optimiser: Literal["adamw", "muon"]
    lr: float = Field(gt=0, le=1000)  # peak
    final_lr: float = Field(ge=0, le=1)  # share of the peak at the end of the cosine
    warmup_epochs: float = Field(ge=0, le=MAX_EPOCHS)  # in which the rate rises in a straight line
    momentum: float = Field(ge=0, lt=1)  # Muon's, and AdamW's beta1
    weight_decay: float = Field(ge=0, le=1000)  # not on norms, biases, γ
    clip_norm: float = Field(ge=0, le=1e6)  # of the gradient, 0 for none
    layer_decay: float = Field(gt=0, le=1)  # share of the rate that each block has of the one behind it
    frozen_stages: int = Field(ge=0, le=MAX_STAGES)  # 1: the stem and the first stage keep their weights
    layer_scale: float = Field(ge=0, le=MAX_GAIN)  # start of every γ, 0 for the design's own; not with weights
    branch_gain: float = Field(ge=0, le=MAX_GAIN)  # the start's other figures: see study/fidelity.py
    linear_gain: float = Field(ge=0, le=MAX_GAIN)
    identity_bias: float = Field(ge=0, le=MAX_GAIN)
    label_smoothing: float = Field(ge=0, lt=1)
    drop_path: float = Field(ge=0, lt=1)  # rate of the last block's stochastic depth
    ema_decay: float = Field(ge=0, lt=1)  # of the exponential moving average of the weights, 0 for none
    balance: Literal["none", "weights", "sampler"]  # of uneven classes
    crop_area: float = Field(ge=0.01, le=1)  # least share of the image in a random resized crop, 1 for none
    shift: float = Field(ge=0, le=0.5)  # of the side
    flip: bool
    randaugment: int = Field(ge=0, le=10)  # operations an image (arXiv:1909.13719)
    magnitude: float = Field(ge=0, le=10)  # of these operations
    erase: float = Field(ge=0, le=1)  # probability of random erasing (arXiv:1708.04896)
    mixup: float = Field(ge=0, le=100)  # α of mixup (arXiv:1710.09412), 0 for none
    cutmix: float = Field(ge=0, le=100)  # α of CutMix (arXiv:1905.04899), 0 for none; with both, either by turns
    teacher_share: float = Field(ge=0, le=1)  # of the loss, where there is a teacher
    temperature: float = Field(gt=0, le=1000)  # of the teacher's answers
    patience: int = Field(ge=0, le=MAX_EPOCHS)  # epochs without a better accuracy that end the training, 0: none do


def training_recipes() -> dict[str, Path]:
    """Name -> file of the training recipes that come with nasbench."""
    return {path.stem: path for path in sorted((data_dir("runners") / "recipes" / "training").glob("*.toml"))}


def load_training_recipe(name_or_path: str | Path = QUICK, changes: Sequence[str] = ()) -> TrainingRecipe:
    """The recipe shipped under this name, or read from a file; `changes` are single figures, `lr=0.01`."""
    path = named_file(name_or_path, training_recipes(), "training recipe")
    content = read_toml(path)
    if "resolution_scale" in content:
        raise UserError(
            f"{path}: is a recipe of the proxy, which trains reduced networks; give a training recipe "
            f"({', '.join(training_recipes())}), or train by it with `nasbench proxy`"
        )
    recipe = TrainingRecipe.from_dict(content, str(path))
    return TrainingRecipe.from_dict({**recipe.model_dump(), **_parsed(changes)}, "--set") if changes else recipe


def _parsed(changes: Sequence[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if name.strip() not in TrainingRecipe.model_fields or not equals:
            known = ", ".join(TrainingRecipe.model_fields)
            raise UserError(f"--set {shown(change)}: write KEY=VALUE with a key of a training recipe: {known}")
        found[name.strip()] = _value(value.strip())
    return found


def _value(text: str) -> object:
    """A number, true or false as TOML writes them; anything else is text."""
    try:
        return parse_toml(f"value = {text}", "--set")["value"]
    except UserError:
        return text
