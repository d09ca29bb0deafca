"""The figures of a scaling study and of a published family as files: which there are and what each shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from nasbench.pictures import save
from nasbench.scaling.family_laws import FamilyLaws
from nasbench.scaling.intervals import LawFit
from nasbench.scaling.isoflop import budgets
from nasbench.scaling.plots import Curve, FamilyFront, draw_fronts, draw_isoflop, draw_laws
from nasbench.scaling.points import SIZE, largest, loss_name, most_sampled
from nasbench.scaling.quoted_families import Family
from nasbench.study.objective import SUPERVISED

EMPTY = np.zeros(0)


def study_pictures(laws: Sequence[FamilyLaws], folder: Path, loss: str = "error") -> list[Path]:
    """Write figures as png, svg and pdf: laws, held-out (fitted without the largest size), fronts, isoflop-DESIGN."""
    sized = [entry for entry in laws if entry.size is not None]
    paths: list[Path] = []
    label = f"{loss_name([point for entry in laws for point in entry.points], loss)} after proxy training"
    if sized:
        curves = [_curve(entry, loss) for entry in sized]
        paths += save(
            draw_laws(curves, "flops", "Error over size, and what larger sizes should reach", label), folder, "laws"
        )
        held = [curve for entry in sized for curve in _held_curve(entry, loss)]
        if held:
            title = "Laws fitted without the largest size"
            paths += save(draw_laws(held, "flops", title, label, reach=1.6), folder, "held-out")
        if loss == "error":
            paths += save(_fronts(sized), folder, "fronts")
    for entry in laws:
        if entry.joint is not None:
            computes = [float(value) for value in budgets(entry.points)]
            title = f"{entry.name}: equal training compute, split between size and images"
            figure = draw_isoflop(entry.joint, entry.cost, computes, entry.points, title, loss)
            paths += save(figure, folder, f"isoflop-{entry.name}")
    return paths


def _curve(entry: FamilyLaws, loss: str) -> Curve:
    """A design's law over size with all its points."""
    assert entry.size is not None
    used = most_sampled(entry.points)
    x = np.array([point.flops for point in used])
    return Curve(entry.name, entry.size, x, np.array([getattr(point, loss) for point in used]), EMPTY, EMPTY)


def _held_curve(entry: FamilyLaws, loss: str) -> list[Curve]:
    """The law fitted without the largest size, with that size's points as unseen ones; none where it was not fitted."""
    found = next((held for held in entry.held_out if held.variables == SIZE), None)
    if found is None:
        return []
    used = most_sampled(entry.points)
    x, y = np.array([p.flops for p in used]), np.array([getattr(p, loss) for p in used])
    unseen = x == largest(used)
    expected = (largest(used), found.low, found.high)
    return [Curve(entry.name, found.fit, x[~unseen], y[~unseen], x[unseen], y[unseen], expected)]


def _fronts(laws: Sequence[FamilyLaws]) -> Figure:
    """Measured accuracy of every design over its sizes."""
    groups = []
    for entry in laws:
        used = most_sampled(entry.points)
        sizes = sorted({point.flops for point in used})
        scores = [[100 * (1 - p.error) for p in used if p.flops == size] for size in sizes]
        spread = np.array([np.std(score, ddof=1) if len(score) > 1 else 0.0 for score in scores])
        groups.append(FamilyFront(entry.name, np.array(sizes) / 1e9, np.array([np.mean(s) for s in scores]), spread))
    samples = most_sampled(laws[0].points)[0].samples
    words = SUPERVISED.words(any(point.balanced for entry in laws for point in entry.points))
    return draw_fronts(
        groups, "FLOPs of the design, 1e9 multiply-adds (log scale)", words.axis,
        f"Families over size, {samples:,.0f} images seen", "points: mean over seeds (measured)   |   bar: ± 1 std",
    )  # fmt: skip


def published_picture(found: Family, fit: LawFit, over: str, folder: Path, held_out: bool) -> list[Path]:
    """Write NAME-law as png, svg and pdf: a published family with its law."""
    x = found.over(over)
    unseen = (x == x.max()) & held_out
    curve = Curve(found.title, fit, x[~unseen], found.error[~unseen], x[unseen], found.error[unseen])
    figure = draw_laws([curve], over, f"{found.title}, published", "top-1 error on ImageNet-1k", "quoted")
    return save(figure, folder, f"{found.key}-law")
