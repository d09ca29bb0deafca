"""A family made from one design: scaled to targets or to the FLOPs of other designs, checked by a training step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import load
from nasbench.arch.parts import effective_fields
from nasbench.costs.analytic import Cost, cost
from nasbench.costs.budget import Budget
from nasbench.errors import UserError
from nasbench.scaling.rules import Rule
from nasbench.scaling.target import Scaled, scale_to
from nasbench.scaling.target_metric import metric_of
from nasbench.space.shipped import load_space

STEP_IMAGES = 2  # of the training step that checks a design
STEP_CLASSES = 10


@dataclass(frozen=True)
class Member:
    """One size of a family: the scaled design, its cost, and why it is not in the space (None: it is)."""

    scaled: Scaled
    cost: Cost
    outside: str | None
    step_loss: float | None = None  # of one training step, None where none was made

    def row(self) -> dict[str, Any]:
        """One line of the table."""
        arch, base, target = self.scaled.arch, self.scaled.base, self.scaled.target
        return {
            "design": arch.name,
            "off": f"{self.scaled.off:+.1%}",
            "FLOPs M": f"{self.cost.flops / 1e6:,.0f}",
            "params M": f"{self.cost.params / 1e6:.2f}",
            **({"ms pred.": f"{self.scaled.value:.2f}"} if target.metric == "latency_ms" else {}),
            "px": arch.resolution,
            "depth": dashes(stage.depth for stage in arch.stages if stage.depth),
            "channels": dashes([arch.stem.channels, *(stage.channels for stage in arch.stages if stage.depth)]),
            "d x": f"{_ratio(arch, base, 'depth'):.2f}",
            "w x": f"{_ratio(arch, base, 'channels'):.2f}",
            "px x": f"{arch.resolution / base.resolution:.2f}",
            "step": "-" if self.step_loss is None else f"loss {self.step_loss:.2f}",
            "in space": "yes" if self.outside is None else "no",
        }

    def to_dict(self) -> dict[str, Any]:
        return {
            "architecture": self.scaled.arch.to_dict(),
            "id": self.scaled.arch.id,
            "target": str(self.scaled.target),
            "rule": self.scaled.rule.name,
            "off": self.scaled.off,
            "scale": self.scaled.scale,
            "trim": self.scaled.trim,
            "outside": self.outside,
            "step_loss": self.step_loss,
            **self.cost.to_dict(),
        }


def make_family(
    arch: Architecture,
    targets: Sequence[Budget],
    rule: Rule,
    classes: int = 1000,
    device: str = "this-machine",
    space: str | None = "metablock",
    check: bool = True,
) -> list[Member]:
    """`arch` at each target along `rule`; with `check` each is built and makes one training step."""
    found, members = load_space(space) if space else None, []
    for target in targets:
        scaled = scale_to(arch, target, rule, metric_of(target, classes, device))
        outside = found.outside(scaled.arch) if found else None
        loss = training_step(scaled.arch) if check else None
        members.append(Member(scaled, cost(scaled.arch, classes), outside, loss))
    return members


def training_step(arch: Architecture, seed: int = 0) -> float:
    """The loss of one training step of the train form on random images; RuntimeError where it is not finite."""
    import torch
    from torch.nn.functional import cross_entropy

    from nasbench.nn.model import build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(arch, STEP_CLASSES).train()
        images = torch.randn(STEP_IMAGES, arch.in_channels, arch.resolution, arch.resolution)
        loss = cross_entropy(model(images), torch.arange(STEP_IMAGES) % STEP_CLASSES)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    loss.backward()
    optimiser.step()
    value = loss.item()
    if not math.isfinite(value):
        raise RuntimeError(f"{arch.label}: the loss of a first training step is {value}")
    return value


def sibling_target(sibling: Architecture, classes: int = 1000) -> Budget:
    """The sibling's own FLOPs as a target."""
    flops = cost(sibling, classes).flops
    return Budget("flops", float(flops), sibling.label, "GFLOP" if flops >= 1e9 else "MFLOP")


def parse_targets(texts: Sequence[str], classes: int = 1000) -> tuple[list[Budget], list[Architecture | None]]:
    """Each text as a budget: one as written, or the FLOPs of a design given by name or file.

    Beside each the design, None where it was a budget. UserError for a text that is neither.
    """
    budgets: list[Budget] = []
    siblings: list[Architecture | None] = []
    for text in texts:
        if text[:1].isdigit() or text[:1] in ".+-":
            budgets.append(Budget.parse(text))
            siblings.append(None)
            continue
        try:
            sibling = load(text)
        except UserError:
            raise UserError(
                f"target {text!r}: neither a budget such as 2GFLOP, 3Mparams or 5ms nor a design's name or file"
            ) from None
        budgets.append(sibling_target(sibling, classes))
        siblings.append(sibling)
    return budgets, siblings


def side_by_side(scaled: Architecture, published: Architecture, classes: int = 1000) -> list[dict[str, Any]]:
    """The fields and costs in which a scaled and a published design differ, one row each with all stages in a cell."""
    pairs = [(arch, cost(arch, classes)) for arch in (scaled, published)]
    rows: list[tuple[str, list[Any]]] = [
        ("resolution", [arch.resolution for arch, _ in pairs]),
        ("stem channels", [arch.stem.channels for arch, _ in pairs]),
        *((name, [dashes(_values(arch, name)) for arch, _ in pairs]) for name in _compared(scaled, published)),
        ("FLOPs M", [f"{c.flops / 1e6:,.0f}" for _, c in pairs]),
        ("params M", [f"{c.params / 1e6:.2f}" for _, c in pairs]),
        ("activations M", [f"{c.activations / 1e6:.1f}" for _, c in pairs]),
    ]
    return [{"differs": name, scaled.label: a, published.label: b} for name, (a, b) in rows if str(a) != str(b)]


def _compared(a: Architecture, b: Architecture) -> list[str]:
    """The stage fields that have an effect in either design, in their order in `Stage`; without slots."""
    names = {name for arch in (a, b) for stage in arch.stages for name in effective_fields(stage)}
    order = list(type(a.stages[0]).model_fields)
    return sorted(names - {"slots"}, key=order.index)


def _values(arch: Architecture, name: str) -> list[Any]:
    """The field in each stage, "." where it has no effect there."""
    return [getattr(s, name) if name in effective_fields(s) else "." for s in arch.stages if s.depth]


def dashes(values: Any) -> str:
    return "-".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def _ratio(arch: Architecture, base: Architecture, name: str) -> float:
    """The field's sum over stages, divided by the base's."""
    kept = [i for i, stage in enumerate(base.stages) if stage.depth]
    return sum(getattr(arch.stages[i], name) for i in kept) / sum(getattr(base.stages[i], name) for i in kept)
