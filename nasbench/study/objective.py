"""Objectives of proxy training, and the words for their figures."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nasbench.costs.budget import Budget
from nasbench.errors import UserError

PREDICTED = "predicted@"  # prefix of a size: designs are compared by the error extrapolated to it


@dataclass(frozen=True)
class Agreement:
    """Rank correlations with 95 % bootstrap intervals (estimate, low, high), measured over `designs` networks.

    `seeds`: the expected correlation of two seeds of supervised training, an upper bound for any other objective.
    """

    designs: int
    spearman: tuple[float, float, float]
    kendall: tuple[float, float, float]
    seeds: float
    source: str

    def __str__(self) -> str:
        figures = [f"{e:.2f} [{low:.2f}, {high:.2f}]" for e, low, high in (self.spearman, self.kendall)]
        verdict = "agrees" if self.spearman[1] > 0 else "is not shown to agree"
        return (
            f"Its ranking {verdict} with accuracy's: Spearman {figures[0]}, Kendall {figures[1]} over {self.designs} "
            f"designs, where two seeds of accuracy should correlate with {self.seeds:.2f} (measured; {self.source})."
        )


@dataclass(frozen=True)
class Objective:
    """One way to score a design.

    `loss` is its name in a study file; `metric` is the trial's figure that designs are ranked by: at most 1, higher is
    better, and the loss is 1 - metric. `labelled`: whether it reads labels. The rest are words for the figure: `noun`
    in a sentence, `unit` behind a percentage, `axis` of a plot, `notes` for the reader of a report.
    """

    name: str
    loss: str
    metric: str
    labelled: bool
    noun: str
    unit: str
    axis: str
    notes: tuple[str, ...] = ()

    def words(self, balanced: bool) -> Objective:
        """The objective, with the words for balanced accuracy where `balanced`."""
        return BALANCED if balanced and self.metric == SUPERVISED.metric else self


# results/masked/agreement.json, "masked seed 0 against supervised seed 0" and "seeds"; a test compares.
MASKED_AGREEMENT = Agreement(
    designs=24,
    spearman=(0.386, -0.038, 0.693),
    kendall=(0.25, -0.062, 0.534),
    seeds=0.33,
    source="results/masked/README.md",
)
SUPERVISED = Objective(
    name="supervised",
    loss="error",
    metric="accuracy",
    labelled=True,
    noun="accuracy",
    unit="%",
    axis="accuracy after proxy training, %",
)
BALANCED = replace(
    SUPERVISED,
    noun="balanced accuracy",
    unit="% balanced accuracy",
    axis="balanced accuracy after proxy training, %",
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
        str(MASKED_AGREEMENT),
    ),
)
OBJECTIVES = {objective.name: objective for objective in (SUPERVISED, MASKED)}
BY_LOSS = {objective.loss: objective for objective in OBJECTIVES.values()}


def extrapolation_target(text: str) -> Budget:
    """The size in `predicted@4GFLOP`, in multiply-adds."""
    target = Budget.parse(text.removeprefix(PREDICTED))
    if target.metric != "flops":
        raise UserError(f"objective {text!r}: designs are extrapolated over FLOPs; write for example {PREDICTED}4GFLOP")
    return target


def split_objective(text: str) -> tuple[str, tuple[str, ...]]:
    """`--objective` as the objective to train for and the sizes to extrapolate to: predicted@SIZE trains supervised."""
    if not text.startswith(PREDICTED):
        return text, ()
    extrapolation_target(text)
    return "supervised", (text,)
