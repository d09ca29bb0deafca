"""Do our networks have the published sizes? Published figures, what the official code measured, and our own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasbench.arch.architecture import Architecture
from nasbench.arch.deploy_form import deploy_network
from nasbench.arch.library import fixed_points
from nasbench.costs.analytic import cost
from nasbench.costs.counted import count_fvcore
from nasbench.errors import UserError
from nasbench.files import read_toml
from nasbench.nn.model import Model, build, reparameterise

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
                {
                    "network": self.name,
                    "px": self.resolution,
                    "form": title,
                    **own,
                    "published": quoted,
                    "official code": difference(form),
                }
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
    """Build the published networks of these shipped names (default: all) and compare their figures.

    A network with figures at 384 px too comes a second time at that resolution.
    """
    shipped, known = fixed_points(), published()
    chosen = list(known if names is None else names)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise UserError(f"no published figures for {', '.join(unknown)}; `nasbench list` names the shipped networks")
    return [reproduction for name in chosen for reproduction in _compare(name, shipped[name], known[name])]


def published() -> dict[str, Any]:
    """Name -> the published and measured figures of a shipped network."""
    return read_toml(Path(__file__).with_name("published.toml"))


def _compare(name: str, arch: Architecture, facts: dict[str, Any]) -> Iterator[Reproduction]:
    measured = {"train": Figures(**facts["train"]), "deploy": Figures(**facts.get("deploy", facts["train"]))}
    forms = _forms(arch.with_resolution(facts["resolution"]), measured)
    yield Reproduction(name, facts["resolution"], facts["published"], facts["measured_with"], **forms)
    if "at_384" in facts:
        larger = Figures(**facts["at_384"])
        forms = _forms(arch.with_resolution(384), {"train": larger, "deploy": larger})
        yield Reproduction(name, 384, {}, facts["measured_with"], **forms)


def _forms(arch: Architecture, measured: dict[str, Figures]) -> dict[str, Form]:
    model = blank(arch)
    counted = {"train": _counted(count_fvcore(model, arch.resolution))}
    counted["deploy"] = counted["train"]  # where nothing merges both forms are one network
    if deploy_network(arch.network) != arch.network:
        counted["deploy"] = _counted(count_fvcore(reparameterise(model), arch.resolution))
    analytic = {form: cost(arch, deploy=form == "deploy").to_dict() for form in measured}
    return {form: Form(measured[form], _counted(analytic[form]), counted[form]) for form in measured}


def _counted(figures: Mapping[str, Any]) -> Figures:
    return Figures(*(figures[key] for key in FIGURES))


def blank(arch: Architecture) -> Model:
    """The network with all weights zero: for counting, without the time that drawing half a billion numbers takes."""
    import torch

    with torch.device("meta"):
        model = build(arch)
    model.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    return model
