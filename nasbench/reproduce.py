"""Do our networks have the published sizes? Published figures, what the official code measured, and our own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasbench.architecture import Architecture
from nasbench.cost import cost, count_fvcore
from nasbench.errors import UserError
from nasbench.files import read_toml
from nasbench.library import fixed_points
from nasbench.model import build, reparameterise

FIGURES = ("params", "macs", "flops")


@dataclass(frozen=True)
class Figures:
    """params, multiply-adds, and flops as fvcore totals them, of one form of a network."""

    params: int
    macs: int
    flops: int


@dataclass(frozen=True)
class Form:
    """One form: measured with the official code, computed from our architecture, counted by fvcore on our module."""

    measured: Figures
    analytic: Figures
    counted: Figures

    @property
    def exact(self) -> bool:
        return self.measured == self.analytic == self.counted


@dataclass(frozen=True)
class Reproduction:
    """A published network: what its paper prints, and both forms' figures at `resolution` with 1000 classes."""

    name: str
    resolution: int
    published: dict[str, str]
    measured_with: str
    train: Form
    deploy: Form

    @property
    def exact(self) -> bool:
        return self.train.exact and self.deploy.exact

    def to_dict(self) -> dict[str, Any]:
        forms = {form: {"exact": getattr(self, form).exact} for form in ("train", "deploy")}
        content = dataclasses.asdict(self)
        return {**content, **{form: {**content[form], **forms[form]} for form in forms}, "exact": self.exact}

    def table_rows(self) -> list[dict[str, Any]]:
        """One flat row a form, for a table: our figures, the paper's, and how far the official code's are."""
        quoted = " / ".join(self.published[key] for key in ("params", "flops") if key in self.published)
        rows = []
        for title in ("train", "deploy"):
            form: Form = getattr(self, title)
            own = dataclasses.asdict(form.analytic)
            rows.append(
                {"network": self.name, "form": title, **own, "published": quoted, "official code": difference(form)}
            )
        return rows


def difference(form: Form) -> str:
    """ "exact", or which figures differ and by how much."""
    parts = []
    for title, own in (("analytic", form.analytic), ("fvcore", form.counted)):
        for key in FIGURES:
            gap = getattr(own, key) - getattr(form.measured, key)
            parts += [f"{title} {key} {gap:+,}"] if gap else []
    return ", ".join(parts) or "exact"


def reproduce(names: Iterable[str] | None = None) -> list[Reproduction]:
    """Build the published networks of these shipped names (default: all) and compare their figures."""
    facts, shipped = read_toml(Path(__file__).with_name("published.toml")), fixed_points()
    chosen = list(facts if names is None else names)
    unknown = [name for name in chosen if name not in facts]
    if unknown:
        raise UserError(f"no published figures for {', '.join(unknown)}; there are some for {', '.join(facts)}")
    return [_compare(name, shipped[name], facts[name]) for name in chosen]


def _compare(name: str, arch: Architecture, facts: dict[str, Any]) -> Reproduction:
    arch = arch.with_resolution(facts["resolution"])
    train = build(arch)
    measured = {"train": Figures(**facts["train"]), "deploy": Figures(**facts.get("deploy", facts["train"]))}
    models = {"train": train, "deploy": reparameterise(train)}
    forms = {}
    for form, model in models.items():
        analytic = cost(arch, deploy=form == "deploy")
        counted = count_fvcore(model, arch.resolution)
        forms[form] = Form(
            measured[form],
            Figures(*(getattr(analytic, key) for key in FIGURES)),
            Figures(*(counted[key] for key in FIGURES)),
        )
    return Reproduction(name, arch.resolution, facts["published"], facts["measured_with"], **forms)
