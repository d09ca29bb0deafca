"""A problem whose true losses are the surrogate of one of nasbench's tables, and whose trainings add its seed noise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.bench.problem import Design, Problem, Scale
from nasbench.costs.analytic import cost
from nasbench.errors import UserError, shown
from nasbench.space.search_space import SearchSpace
from nasbench.space.shipped import load_space, shipped_spaces
from nasbench.table.loading import load_table
from nasbench.table.table import Table

OBJECTIVES = ("error", "macs", "params")
DRAWN = 256  # random members, whose worst losses are the reference point


@dataclass(frozen=True, eq=False)
class Expected:
    """Losses of any design of a space by the surrogate of a table, at its first rung."""

    table: Table
    objectives: tuple[str, ...]

    def truth(self, designs: Sequence[Design]) -> np.ndarray:
        archs = [cast(Architecture, design) for design in designs]
        columns = [self._errors(archs) if name == "error" else _costs(archs, name) for name in self.objectives]
        return np.column_stack(columns)

    def observe(self, design: Design, rng: np.random.Generator) -> tuple[float, ...]:
        losses = self.truth([design])[0]
        noise = self.table.surrogate.noise(self.table.fidelity(self._rung))
        return tuple(
            float(np.clip(loss + noise * rng.normal(), 0, 1)) if name == "error" else float(loss)
            for name, loss in zip(self.objectives, losses)
        )

    def _errors(self, archs: Sequence[Architecture]) -> np.ndarray:
        return np.asarray(1 - self.table.predict(archs, self._rung).mean)

    @property
    def _rung(self) -> int:
        return self.table.rungs[0] if self.table.rungs else 0


def _costs(archs: Sequence[Architecture], name: str) -> np.ndarray:
    return np.array([_cost(arch, name) for arch in archs])


@lru_cache(1 << 14)
def _cost(arch: Architecture, name: str) -> float:
    return float(getattr(cost(arch), name))


def surrogate_problem(name: str, objectives: Sequence[str] = ("1",)) -> Problem:
    """Of a table by name or path; the space is the one of the table's name, else the default space."""
    table = load_table(name)
    chosen = _chosen(objectives)
    space = load_space(name if name in shipped_spaces() else "metablock")
    expected = Expected(table.current, chosen)
    worst = _worst(space, expected)
    speed = (lambda arch: _cost(arch, chosen[1])) if len(chosen) > 1 and chosen[1] != "error" else None
    return Problem(
        name, _id_of(table), space, chosen, expected.observe, expected.truth,
        Scale(float("nan"), worst, float("nan")), speed,
        (f"surrogate of {len(table.current)} trainings of {len(table.current.ids)} designs; no training of its own",),
    )  # fmt: skip


def _chosen(objectives: Sequence[str]) -> tuple[str, ...]:
    if len(objectives) == 1 and objectives[0] in ("1", "2"):
        return OBJECTIVES[: int(objectives[0])]
    unknown = [name for name in objectives if name not in OBJECTIVES]
    if unknown or not 1 <= len(set(objectives)) <= 2 or objectives[0] != "error":
        raise UserError(
            f"--objectives {shown(' '.join(objectives))}: give 1, 2, or error and one of {', '.join(OBJECTIVES[1:])}"
        )
    return tuple(dict.fromkeys(objectives))


def _worst(space: SearchSpace, expected: Expected) -> tuple[float, ...]:
    """The worst losses among random members, the same in every process."""
    rng = np.random.default_rng(0)
    losses = expected.truth([space.draw(rng) for _ in range(DRAWN)])
    return tuple(float(loss) for loss in losses.max(0))


def _id_of(table: Table) -> str:
    text = "\n".join(sorted(row.model_dump_json() for row in table.content))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
