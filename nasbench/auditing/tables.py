"""An audit as tables: networks with their scores, and rankers with how far they agree with the truth."""

from __future__ import annotations

from typing import Any

import numpy as np

from nasbench.auditing.agreement import Agreement
from nasbench.auditing.pairs import GROUPS
from nasbench.auditing.result import ACCURACY, RANKERS, Audit, Network, Truth
from nasbench.study.standing import short

MARKS = {"plain": "", "distilled": " (d)", "pretrained": " (p)"}
HEADS = {
    "all": "all pairs",
    "within": "within families",
    "similar": "across, alike in cost",
    "decidable": "1.5 points apart",
    "decidable_similar": "across, alike, apart",
}
assert HEADS.keys() == GROUPS.keys()


def network_table(audit: Audit) -> list[dict[str, Any]]:
    """One line a network, most accurate at the rung first."""
    ordered = sorted(audit.networks, key=lambda network: -np.nan_to_num(network.value(ACCURACY), nan=-1.0))
    off = audit.residuals
    return [_line(network, off.get(network.name)) for network in ordered]


def _line(network: Network, residual: float | None) -> dict[str, Any]:
    quoted = network.published
    return {
        "network": network.name,
        "family": network.family,
        "published": None if quoted is None else f"{quoted.value:g}{MARKS[quoted.training]}",
        "accuracy %": _known(network.value(ACCURACY)),
        "seeds": len(network.short),
        "off": None if residual is None else f"{residual:+.1f} sd",
        "long %": _known(network.value("long")),
        "MACs M": round(network.macs / 1e6),
        "params M": f"{network.params / 1e6:.2f}",
        "ms": _known(network.value("latency_ms")),
        "CPU s": _known(network.mean("cpu_seconds")),
    }


def _known(value: float) -> str | None:
    return f"{value:.1f}" if np.isfinite(value) else None


def ranking_table(audit: Audit, truth: Truth) -> list[dict[str, Any]]:
    """One line a ranker: its tau with a truth over each group of pairs; nothing where that is not known."""
    lines = []
    for ranker, title in RANKERS.items():
        found = {group: audit.agreement(ranker, truth, group) for group in GROUPS}
        if found["all"] is not None:
            right = audit.in_order(ranker, truth)
            cells = {HEADS[group]: _cell(found[group], whole=group == "all") for group in GROUPS}
            lines.append({"ranking by": title, **cells, "of these in order": f"{right.right} of {right.pairs}"})
    return lines


def family_table(audit: Audit) -> list[dict[str, Any]]:
    """One line a family: how far it lies from the line of the others, the furthest first."""
    known = audit.residuals
    compared = [network for network in audit.networks if network.name in known]
    lines = []
    for family, off in sorted(audit.family_residuals.items(), key=lambda item: -abs(item[1])):
        members = [network for network in compared if network.family == family]
        lines.append(
            {
                "family": family,
                "networks": len(members),
                "off the line of the others": f"{off:+.1f} sd",
                "accuracy %": _range([network.value(ACCURACY) for network in members]),
                f"{audit.truth} %": _range([network.value(audit.truth) for network in members]),
            }
        )
    return lines


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low} to {high}"


def _cell(found: Agreement | None, whole: bool) -> str | None:
    if found is None:
        return None
    return f"{short(found.tau)} [{short(found.low)}, {short(found.high)}]" if whole else short(found.tau)
