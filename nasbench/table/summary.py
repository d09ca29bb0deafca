"""Summary of a table: counts and noise by rung, best designs by cost, agreement of the rungs, provenance."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np

from nasbench.auditing.agreement import agreement
from nasbench.table.rows import LONG_RUNG, TableRow
from nasbench.table.table import Table

BEST = 3  # designs listed in each band of cost
Record = dict[str, Any]


def rung_label(rung: int | None) -> str:
    return "other" if rung is None else "long" if rung == LONG_RUNG else str(rung)


def rung_records(table: Table) -> list[Record]:
    """One record a rung: trainings, designs, published ones, seed noise in points with its degrees of freedom."""
    rungs: list[int | None] = [*table.rungs]
    rungs += [None] if any(row.rung is None for row in table.content) else []
    return [_rung_record(table, rung) for rung in rungs]


def _rung_record(table: Table, rung: int | None) -> Record:
    rows = [row for row in table.content if row.rung == rung]
    seeds = Counter(row.architecture_id for row in rows)
    noise = None if rung is None else table.noise(rung)
    samples = sorted({row.samples for row in rows})
    return {
        "rung": rung_label(rung),
        "samples": samples[0] if len(samples) == 1 else f"{samples[0]:,} to {samples[-1]:,}",
        "trainings": len(rows),
        "designs": len(seeds),
        "published": len({row.architecture_id for row in rows if row.origin == "published"}),
        "with several seeds": sum(count > 1 for count in seeds.values()),
        "seed noise, points": None if noise is None else round(100 * noise.std, 2),
        "degrees of freedom": 0 if noise is None else noise.degrees_of_freedom,
        "CPU hours": round(sum(row.cpu_seconds or 0.0 for row in rows) / 3600, 2),
    }


def comparable(table: Table) -> Table:
    """The rows of the most frequent split, images and numerics, whose accuracies are comparable."""
    kinds = Counter((row.split, row.data_id, row.numerics) for row in table.content)
    if len(kinds) < 2:
        return table
    split, data_id, numerics = kinds.most_common(1)[0][0]
    return table.where(split=split, data_id=data_id, numerics=numerics)


def agreement_records(table: Table) -> list[Record]:
    """One record a pair of rungs: Kendall's tau over the designs that both have, with its 90 % interval."""
    table = comparable(table)
    means = {rung: _means(table, rung) for rung in table.rungs}
    found = []
    for first, second in combinations(table.rungs, 2):
        both = sorted(means[first].keys() & means[second].keys())
        tau = agreement(np.array([means[first][k] for k in both]), np.array([means[second][k] for k in both]))
        if tau is not None:
            found.append(
                {
                    "rungs": f"{rung_label(first)} and {rung_label(second)}",
                    "tau": round(tau.tau, 3),
                    "low": round(tau.low, 3),
                    "high": round(tau.high, 3),
                    "designs": len(both),
                }
            )
    return found


def best_records(table: Table, rung: int) -> list[Record]:
    """The best designs of each octave of multiply-adds at a rung, and the best published one, by mean accuracy."""
    bands: dict[int, list[TableRow]] = defaultdict(list)
    for row in comparable(table).content:
        if row.rung == rung:
            bands[math.floor(math.log2(max(1, row.macs)))].append(row)
    return [record for band in sorted(bands, reverse=True) for record in _best_of_band(band, bands[band])]


def _best_of_band(band: int, rows: list[TableRow]) -> list[Record]:
    groups: dict[str, list[TableRow]] = defaultdict(list)
    for row in rows:
        groups[row.architecture_id].append(row)
    ordered = sorted(groups.values(), key=lambda group: -fmean(row.accuracy for row in group))
    published = [group for group in ordered if group[0].origin == "published"]
    listed = ordered[:BEST] + [group for group in published[:1] if group not in ordered[:BEST]]
    return [
        {
            "MACs M": f"{2**band / 1e6:,.0f} to {2 ** (band + 1) / 1e6:,.0f}",
            "design": group[0].name or group[0].architecture_id,
            "origin": group[0].origin,
            "accuracy %": round(100 * fmean(row.accuracy for row in group), 1),
            "trainings": len(group),
            "own MACs M": round(group[0].macs / 1e6),
            "params M": round(group[0].params / 1e6, 2),
        }
        for group in listed
    ]


def provenance(table: Table) -> Record:
    """Numbers of rows by images, split, recipe, numerics, versions, machine and origin."""
    columns = ("data", "split", "recipe", "numerics", "nasbench", "torch", "machine", "origin")
    return {name: _counted(getattr(row, name) for row in table.content) for name in columns}


def summary(table: Table, rung: int) -> Record:
    """The whole summary in JSON types; `rung` is that of the best designs."""
    return {
        "table": table.source,
        "trainings": len(table),
        "designs": len(table.ids),
        "stale": table.stale,
        "rungs": rung_records(table),
        "compared": len(comparable(table)),
        "agreement": agreement_records(table),
        "best": best_records(table, rung),
        "provenance": provenance(table),
    }


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _means(table: Table, rung: int) -> dict[str, float]:
    accuracies: dict[str, list[float]] = defaultdict(list)
    for row in table.content:
        if row.rung == rung:
            accuracies[row.architecture_id].append(row.accuracy)
    return {key: fmean(values) for key, values in accuracies.items()}
