"""What an audit found: the scores of each network, how they rank beside each truth, and what that says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Literal

import numpy as np

from nasbench.auditing.agreement import (
    LEAST,
    Agreement,
    InOrder,
    advantage,
    agreement,
    family_residuals,
    in_order,
    residuals,
)  # fmt: skip
from nasbench.auditing.pairs import GROUPS, Ranked
from nasbench.auditing.rows import ZERO_COST, ScoreRow
from nasbench.published.accuracies import Accuracy
from nasbench.study.fidelity import Fidelity, recipe_name
from nasbench.study.standing import MISJUDGED, Figure, Standing, details, sentences, short

if TYPE_CHECKING:
    import pandas as pd

Truth = Literal["published", "long", "seed"]
ACCURACY = "accuracy"
SCORES = {
    ACCURACY: "this rung: accuracy",
    "loss": "this rung: loss on test images",
    "train_loss_tail": "this rung: training loss at the end",
}
SIZES = {"params": "parameters", "macs": "multiply-adds", "flops": "flops as fvcore counts", "latency_ms": "latency"}
UNTRAINED = dict(zip(ZERO_COST, ("Jacobian covariance, untrained", "gradient norm, untrained", "SNIP, untrained")))
RANKERS = SCORES | SIZES | UNTRAINED
TRUTHS = {  # axes of the picture
    "published": "published top-1 on ImageNet-1k, % (quoted)",
    "long": "accuracy after {times} times the training, % (measured)",
}
LESS_IS_BETTER = ("loss", "train_loss_tail")


@dataclass(frozen=True)
class Network:
    """One network of an audit: what is known of it, and its rows by seed. Costs are of the deploy form."""

    name: str
    family: str
    published: Accuracy | None
    macs: int
    params: int
    flops: int
    latency_ms: float | None = None
    latency_is: str = ""  # measured or predicted
    short: Mapping[int, ScoreRow] = field(default_factory=dict)
    long: Mapping[int, ScoreRow] = field(default_factory=dict)
    untrained: ScoreRow | None = None

    def mean(self, name: str) -> float:
        """A score of the rung, the mean over seeds; NaN where there is none."""
        values = [getattr(row, name) for row in self.short.values()]
        return fmean(values) if values else np.nan

    def value(self, name: str) -> float:
        """What ranks this network under the name of a ranker or truth; NaN where it is not known."""
        if name in SCORES:
            return self.mean(name) * (100 if name == ACCURACY else 1)
        if name == "long":
            values = [row.accuracy for row in self.long.values() if row.accuracy is not None]
            return 100 * fmean(values) if values else np.nan
        if name == "published":
            return self.published.value if self.published is not None and self.published.plain else np.nan
        known = getattr(self.untrained if name in ZERO_COST else self, name, None)
        return np.nan if known is None else float(known)


@dataclass(frozen=True)
class Audit:
    """Networks trained at one fidelity, and how that ranks them. `truth` is what the headline is taken against.

    Tau is Kendall's; intervals hold 90 % of 2,000 bootstrap samples of the networks.
    """

    fidelity: Fidelity
    data: str
    data_id: str
    truth: Literal["published", "long"]
    times: int  # how much longer the long trainings are
    networks: tuple[Network, ...]

    def rows(self) -> pd.DataFrame:
        """One line a network, best first: what is published and how it was trained, scores, costs, and how far its
        score lies from the line through all, in standard deviations (`residual`)."""
        import pandas as pd

        off = self.residuals
        lines = [_line(network, off.get(network.name)) for network in self.networks]
        return pd.DataFrame(lines).sort_values(ACCURACY, ascending=False, ignore_index=True)

    @property
    def tau(self) -> dict[str, float]:
        """Kendall's tau by what it is of: the rung's accuracy against published, long and seed (and published_within,
        published_similar, ... over groups of pairs); params, macs and the other rankers against `truth`."""
        standing = self.standing
        return {key: figure.tau for key, figure in (standing.figures | standing.baselines).items()}

    def agreement(self, ranker: str = ACCURACY, truth: Truth = "published", pairs: str = "all") -> Agreement | None:
        """Tau of a ranker (`RANKERS`) against a truth over a group of pairs (`GROUPS`), with its interval; None where
        too little is known. Whatever ranks, only networks that the rung scored count."""
        if truth == "seed":
            first, second, kept = self._two_seeds()
            return agreement(first, second, self._groups(kept, second)[pairs]) if ranker == ACCURACY else None
        kept = self._known(ranker, truth)
        scores, values = self._column(ranker, kept), self._column(truth, kept)
        return agreement(scores, values, self._groups(kept, values)[pairs])

    def in_order(self, ranker: str = ACCURACY, truth: Truth = "published") -> InOrder:
        """Of the pairs from different families that cost alike and that the truth can decide, how many the ranker
        puts in order."""
        kept = self._known(ranker, truth)
        values = self._column(truth, kept)
        return in_order(self._column(ranker, kept), values, self._groups(kept, values)["decidable_similar"])

    def agreements(self) -> pd.DataFrame:
        """Every figure: ranker, truth, which pairs, tau, the interval's low and high end, and how many pairs."""
        import pandas as pd

        truths: tuple[Truth, ...] = ("published", "long", "seed")
        lines = []
        for truth in truths:
            for ranker in RANKERS:
                for group in GROUPS:
                    found = self.agreement(ranker, truth, group)
                    if found is not None:
                        lines.append((ranker, truth, group, found.tau, found.low, found.high, found.pairs))
        return pd.DataFrame(lines, columns=["ranker", "truth", "pairs", "tau", "low", "high", "count"])

    @property
    def residuals(self) -> dict[str, float]:
        """Network -> how far its accuracy lies from the line through all over the truth, in standard deviations."""
        kept = self._known(ACCURACY, self.truth)
        values = self._column(self.truth, kept)
        if len(np.unique(values)) < LEAST:
            return {}
        off = residuals(values, self._column(ACCURACY, kept))
        return {network.name: float(each) for network, each in zip(kept, off)}

    @property
    def family_residuals(self) -> dict[str, float]:
        """Family -> mean residual from the line through the other families, in their standard deviations."""
        kept = self._known(ACCURACY, self.truth)
        found = family_residuals(
            self._column(self.truth, kept), self._column(ACCURACY, kept), [network.family for network in kept]
        )
        return {family: each.mean for family, each in found.items()}

    @cached_property
    def standing(self) -> Standing:
        """The figures as they are stored and told."""
        kept = self._known(ACCURACY, self.truth)
        right, pairs = self.in_order(truth=self.truth)
        return Standing(
            fidelity=self.fidelity.id,
            recipe=recipe_name(self.fidelity),
            samples=self.fidelity.samples,
            data=self.data,
            data_id=self.data_id,
            networks=len(kept),
            families=len({network.family for network in kept}),
            seeds=min((len(network.short) for network in kept), default=0),
            truth=self.truth,
            times=self.times,
            figures=self._figures(),
            baselines=self._baselines(),
            advantage=self._advantages(),
            in_order=(right, pairs),
            misjudged={f: round(r, 4) for f, r in self.family_residuals.items() if abs(r) > MISJUDGED},
        )

    def verdict(self) -> list[str]:
        """In plain words, worst news first."""
        return [*sentences(self.standing), *details(self.standing)]

    def to_dict(self) -> dict[str, object]:
        """All of it in plain JSON types: the standing, the verdict, each network, every figure."""
        rows, figures = self.rows(), self.agreements()
        return {
            **self.standing.to_dict(),
            "verdict": self.verdict(),
            "family_residuals": self.family_residuals,
            "rows": rows.astype(object).where(rows.notna(), None).to_dict("records"),
            "agreements": figures.round(4).to_dict("records"),
        }

    def plot(self, path: str | Path) -> list[Path]:
        """Accuracy at the rung against the truth as PNG and SVG (whatever suffix `path` has) -> the files.

        Named are those that lie beyond what counts as misjudged, and the families that do. Distilled and pre-trained
        networks are not in it.
        """
        from nasbench.auditing.picture import Point, write_picture

        off, families = self.residuals, self.standing.misjudged
        points = [
            Point(
                network.name,
                network.family,
                network.value(self.truth),
                network.value(ACCURACY),
                network.family in families or abs(off.get(network.name, 0.0)) > MISJUDGED,
            )
            for network in self._known(ACCURACY, self.truth)
        ]
        return write_picture(points, self._title(), TRUTHS[self.truth].format(times=self.times), Path(path))

    def _title(self) -> str:
        own, standing = self.standing.headline, self.standing
        tau = f", tau {own}" if own is not None else ""
        size = standing.baselines.get("params")
        beside = f"; parameters {short(size.tau)}" if size is not None else ""
        return f"{standing.samples:,} samples on {standing.data}: {standing.networks} networks{tau}{beside}"

    def _figures(self) -> dict[str, Figure]:
        truths: tuple[Truth, ...] = ("published", "long", "seed")
        found: dict[str, Agreement | None] = {truth: self.agreement(truth=truth) for truth in truths}
        for truth in ("published", "long"):
            for group in list(GROUPS)[1:]:
                found[f"{truth}_{group}"] = self.agreement(truth=truth, pairs=group)  # type: ignore[arg-type]
        return {key: _figure(each) for key, each in found.items() if each is not None}

    def _baselines(self) -> dict[str, Figure]:
        found = {ranker: self.agreement(ranker, self.truth) for ranker in RANKERS if ranker != ACCURACY}
        return {key: _figure(each) for key, each in found.items() if each is not None}

    def _advantages(self) -> dict[str, Figure]:
        found = {}
        for ranker in (*SIZES, *UNTRAINED):
            kept = self._known(ranker, self.truth)
            own, other = self._column(ACCURACY, kept), self._column(ranker, kept)
            found[ranker] = advantage(own, other, self._column(self.truth, kept))
        return {key: _figure(each) for key, each in found.items() if each is not None}

    def _known(self, *names: str) -> list[Network]:
        """The networks that the rung scored and of which all of `names` are known."""
        return [
            network for network in self.networks if all(np.isfinite(network.value(name)) for name in (ACCURACY, *names))
        ]

    def _two_seeds(self) -> tuple[np.ndarray, np.ndarray, list[Network]]:
        """Accuracies in % by the first two seeds, of the networks that have both."""
        seeds = sorted({seed for network in self.networks for seed in network.short})[:2]
        kept = [network for network in self.networks if len(seeds) == 2 and set(seeds) <= network.short.keys()]
        scores = np.array([[100 * (network.short[seed].accuracy or 0) for seed in seeds] for network in kept])
        first, second = scores.reshape(len(kept), -1).T if kept else (np.empty(0), np.empty(0))
        return first, second, kept

    def _column(self, name: str, networks: Sequence[Network]) -> np.ndarray:
        sign = -1 if name in LESS_IS_BETTER else 1
        return np.array([sign * network.value(name) for network in networks])

    def _groups(self, networks: Sequence[Network], truth: np.ndarray) -> dict[str, np.ndarray]:
        macs = np.array([network.macs for network in networks], float)
        return Ranked([network.family for network in networks], macs, truth).groups()


def _figure(found: Agreement) -> Figure:
    return Figure(tau=round(found.tau, 4), low=round(found.low, 4), high=round(found.high, 4), pairs=found.pairs)


def _line(network: Network, residual: float | None) -> dict[str, object]:
    quoted = network.published
    return {
        "network": network.name,
        "family": network.family,
        "published": quoted.value if quoted else np.nan,
        "training": quoted.training if quoted else "",
        ACCURACY: network.value(ACCURACY),
        **{f"{ACCURACY}_seed_{seed}": 100 * (row.accuracy or 0) for seed, row in sorted(network.short.items())},
        "residual": np.nan if residual is None else residual,
        "long": network.value("long"),
        **{name: network.mean(name) for name in ("loss", "train_loss_tail", "cpu_seconds")},
        "macs": network.macs,
        "params": network.params,
        "flops": network.flops,
        "latency_ms": network.value("latency_ms"),
        "latency_is": network.latency_is,
        **{name: network.value(name) for name in ZERO_COST},
    }
