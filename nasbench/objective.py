"""What proxy training is asked to get right, and what its number is called wherever it is shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Objective:
    """One way to score a design.

    `loss` is its name in a study file; `metric` is the trial's figure that designs are ranked by: at most 1, higher is
    better, and the loss is 1 - metric. `labelled`: whether it reads labels. The rest are words for the figure: `noun`
    in a sentence, `unit` behind a percentage, `axis` of a plot, `notes` for whoever reads it.
    """

    name: str
    loss: str
    metric: str
    labelled: bool
    noun: str
    unit: str
    axis: str
    notes: tuple[str, ...] = ()


SUPERVISED = Objective(
    name="supervised",
    loss="error",
    metric="accuracy",
    labelled=True,
    noun="accuracy",
    unit="%",
    axis="accuracy after proxy training, %",
)
MASKED = Objective(
    name="masked",
    loss="masked_error",
    metric="masked_r2",
    labelled=False,
    noun="masked R²",
    unit="% masked R²",
    axis="masked R² after label-free proxy training, %",
    notes=(
        "Masked R² is no accuracy: the share of hidden pixels' variance that a network paints right, no labels read.",
        "How well it ranks designs as accuracy does has not been measured yet.",
    ),
)
OBJECTIVES = {objective.name: objective for objective in (SUPERVISED, MASKED)}
BY_LOSS = {objective.loss: objective for objective in OBJECTIVES.values()}
