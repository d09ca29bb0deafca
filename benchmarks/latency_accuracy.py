"""How well latency is predicted: held-out networks, measured by latency_data.py, against other predictors.

    cd results/latency
    python ../../benchmarks/latency_accuracy.py onnxruntime.json --fit 50 --choose --shift 10 --speed
    python ../../benchmarks/latency_accuracy.py openvino.json --fit 10 --prior onnxruntime.json

Fits on `--fit` networks drawn at random, or with `--choose` on those that a calibration would choose, and prints for
all others the rank correlation, the mean absolute relative error, the share within 10 %, the lowest rank
correlation inside any one-octave band of latency, and how many measured values the interval covered.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.latency.kernels import KernelModel, fit_kernels, scaled
from nasbench.latency.linear import relative_nnls
from nasbench.latency.lowering import NetworkKernels, architecture_features, network_kernels
from nasbench.latency.prediction import Prediction, accuracy
from nasbench.latency.predictor import fit_networks
from nasbench.latency.records import Record
from nasbench.latency.selection import coordinates, spread_out

CLASSES = 1000
MIN_IN_BAND = 12  # networks, below which a band's rank correlation says little
ATTENTION = frozenset({"matmul", "softmax", "layer_norm"})


class Data(NamedTuple):
    """Measured networks of one runtime."""

    architectures: list[Architecture]
    records: list[Record]
    groups: np.ndarray
    latency_ms: np.ndarray
    networks: list[NetworkKernels]
    runtime: str

    def has_attention(self) -> np.ndarray:
        return np.array([any(k.kind in ATTENTION for k in n.kernels) for n in self.networks])


def read(path: Path, prior_runtime: str | None = None) -> Data:
    content = json.loads(path.read_text(encoding="utf-8"))
    groups = np.array([row.pop("group") for row in content["records"]])
    records = [Record.model_validate(row) for row in content["records"]]
    architectures = [Architecture.from_dict(r.architecture, source=r.id) for r in records]
    runtime = content["device"]["runtime"]
    networks = [
        network_kernels(a, CLASSES, runtime, prior_runtime, r.kernels)
        for a, r in zip(architectures, records, strict=True)
    ]
    latency = np.array([r.measurement.latency_ms for r in records])
    return Data(architectures, records, groups, latency, networks, runtime)


Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]  # rows fitted, rows asked -> ms


def rivals(data: Data) -> dict[str, Predict]:
    """What else one might predict with, on the same split: one cost figure, boosted trees, a process on the graph."""
    costs = [cost(a, CLASSES) for a in data.architectures]
    features = [architecture_features(a, CLASSES, data.runtime) for a in data.architectures]
    names = sorted({name for f in features for name in f})
    graph = np.log1p(np.array([[f.get(name, 0.0) for name in names] for f in features]))
    latency = data.latency_ms

    def proportional(amount: np.ndarray) -> Predict:
        columns = np.column_stack([np.ones(len(amount)), amount])
        return lambda seen, new: columns[new] @ relative_nnls(columns[seen], latency[seen])

    def regressed(make: Callable[[], Any]) -> Predict:
        def predict(seen: np.ndarray, new: np.ndarray) -> np.ndarray:
            mean, deviation = graph[seen].mean(0), graph[seen].std(0)
            deviation[deviation == 0] = 1.0
            model = make().fit((graph[seen] - mean) / deviation, np.log(latency[seen]))
            return np.exp(model.predict((graph[new] - mean) / deviation))

        return predict

    kernel = ConstantKernel(1.0) * RBF(5.0) + WhiteKernel(0.01)
    return {
        "params": proportional(np.array([float(c.params) for c in costs])),
        "FLOPs": proportional(np.array([float(c.macs) for c in costs])),
        "gradient-boosted trees on the graph": regressed(lambda: GradientBoostingRegressor(random_state=0)),
        "Gaussian process on the graph": regressed(lambda: GaussianProcessRegressor(kernel, normalize_y=True)),
    }


def band_spearman(predicted: np.ndarray, measured: np.ndarray) -> float:
    """The lowest rank correlation inside any one-octave band of measured latency, bands from 1 ms on."""
    octave = np.floor(np.log2(measured))
    ranks = [
        accuracy(predicted[octave == band], measured[octave == band]).spearman
        for band in np.unique(octave)
        if (octave == band).sum() >= MIN_IN_BAND
    ]
    return min(ranks) if ranks else float("nan")


def scores(predicted: np.ndarray, measured: np.ndarray) -> list[float]:
    held_out = accuracy(predicted, measured)
    return [held_out.spearman, held_out.mape, held_out.within_10_percent, band_spearman(predicted, measured)]


def ours(data: Data, prior: KernelModel | None, seen: np.ndarray, new: np.ndarray) -> Prediction:
    fitted = fit_networks([data.networks[i] for i in seen], data.latency_ms[seen].tolist(), prior)
    return fitted.predict_networks([data.networks[i] for i in new])


def splits(data: Data, fit: int, choose: bool, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows fitted, rows held out): random draws, or such as a calibration chooses by the networks' features."""
    found = []
    for split in range(count):
        order = np.random.default_rng(split).permutation(len(data.latency_ms))
        if choose:
            picked = spread_out(coordinates([data.architectures[i] for i in order], CLASSES), [], fit)
            order = np.concatenate([order[picked], np.delete(order, picked)])
        found.append((order[:fit], order[fit:]))
    return found


def table(data: Data, chosen: Sequence[tuple[np.ndarray, np.ndarray]], prior: KernelModel | None) -> list[str]:
    lines = [
        "| predictor | Spearman | MAPE | within 10 % | lowest band Spearman | covered by 90 % |",
        "|---|---|---|---|---|---|",
    ]
    for name, predict in rivals(data).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = [scores(predict(seen, new), data.latency_ms[new]) for seen, new in chosen]
        lines.append(_line(name, [*np.nanmean(rows, axis=0), float("nan")]))
    rows = []
    for seen, new in chosen:
        got, truth = ours(data, prior, seen, new), data.latency_ms[new]
        covered = float(np.mean((got.low_ms <= truth) & (truth <= got.high_ms)))
        rows.append([*scores(got.latency_ms, truth), covered])
    lines.append(_line("**this package**", list(np.nanmean(rows, axis=0))))
    return lines


def _line(name: str, values: list[float]) -> str:
    rank, mape, ten, band, covered = values
    shown = "" if np.isnan(covered) else f"{covered:.1%}"
    return f"| {name} | {rank:.4f} | {mape:.1%} | {ten:.1%} | {band:.3f} | {shown} |"


def shift(data: Data, added: int) -> list[str]:
    """Fitted on convolutions alone, asked about attention; then with `added` attention networks, those farthest off."""
    attends = data.has_attention()
    plain, hybrid = np.flatnonzero(~attends), np.flatnonzero(attends)
    flagged = ours(data, None, plain, hybrid).extrapolating.mean()
    points = coordinates(data.architectures, CLASSES)[np.concatenate([plain, hybrid])]
    chosen = spread_out(points, list(range(len(plain))), len(plain) + added)[len(plain) :]
    order = np.concatenate([hybrid[np.array(chosen) - len(plain)], np.delete(hybrid, np.array(chosen) - len(plain))])
    got = ours(data, None, np.concatenate([plain, order[:added]]), order[added:])
    after = accuracy(got.latency_ms, data.latency_ms[order[added:]])
    return [
        f"fitted on {len(plain)} networks without attention: {flagged:.1%} of {len(hybrid)} with it flagged",
        f"with {added} of those added: MAPE {after.mape:.1%}, Spearman {after.spearman:.4f} on {len(order) - added}",
    ]


def speed(data: Data) -> str:
    """CPU milliseconds of one prediction, from architecture to figure, in a batch as a search asks for."""
    model = fit_networks(data.networks[:50], data.latency_ms[:50].tolist())
    asked, times = data.architectures, []
    for _ in range(3):
        start = time.process_time()
        model.predict_networks([network_kernels(a, CLASSES, data.runtime) for a in asked])
        times.append(1e3 * (time.process_time() - start) / len(asked))
    return (
        f"predicting takes {min(times):.2f} ms of processor time a network ({times[0]:.2f} with nothing looked up yet)"
    )


def prior_without(source: Path, asked: Path) -> KernelModel | None:
    """Kernel times from `source`, of networks that are not in `asked`: the prior has met none of those held out."""
    other, ids = read(source), {record.id for record in read(asked).records}
    rows = [i for i, record in enumerate(other.records) if record.id not in ids]
    timed = [scaled(other.networks[i].kernels, other.networks[i].reported, other.latency_ms[i]) for i in rows]
    return fit_kernels([pair for pairs in timed for pair in pairs], other.runtime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--fit", type=int, default=50, help="networks fitted on")
    parser.add_argument("--choose", action="store_true", help="fit on those that a calibration would choose")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--prior", type=Path, help="measurements of another runtime, whose kernel times serve as prior")
    parser.add_argument("--shift", type=int, default=0, metavar="N", help="convolution to attention, N added")
    parser.add_argument("--speed", action="store_true")
    given = parser.parse_args()
    prior = prior_without(given.prior, given.data) if given.prior else None
    data = read(given.data, prior.runtime if prior else None)
    noisy = sum(r.measurement.noisy for r in data.records)
    print(
        f"{len(data.records)} networks, {data.latency_ms.min():.2f} to {data.latency_ms.max():.2f} ms, {noisy} noisy;"
    )
    print(f"fitted on {given.fit}, the rest held out, mean of {given.splits} splits, {data.runtime}\n")
    print("\n".join(table(data, splits(data, given.fit, given.choose, given.splits), prior)))
    if given.shift:
        print("\n" + "\n".join(shift(data, given.shift)))
    if given.speed:
        print("\n" + speed(data))


if __name__ == "__main__":
    main()
