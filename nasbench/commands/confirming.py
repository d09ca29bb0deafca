"""`nasbench confirm`: whether what a search returns still leads after ten times the training."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Any

from nasbench.commands.common import (
    add_priority,
    add_verb,
    positive,
    print_json,
    print_table,
    settle_this_process,
)

if TYPE_CHECKING:
    from nasbench.auditing.confirmation import Confirmation

EXAMPLE = """nasbench confirm results/mine
nasbench confirm results/mine --designs 3ed4e505 431b19c1 --networks fastvit_t8 --seeds 3"""


def add(verbs: Any) -> None:
    confirm = add_verb(
        verbs, "confirm", "whether what a search returns still leads after ten times the training, with fresh seeds",
        EXAMPLE, _confirm, True,
    )  # fmt: skip
    add = confirm.add_argument
    add("folder", help="the study's folder")
    add(
        "--designs", nargs="+", default=(), metavar="ID",
        help="searched designs of the study (default: the one expected to be best then)",
    )  # fmt: skip
    add(
        "--networks", nargs="+", default=(), metavar="NAME",
        help="published networks that it trained (default: three, likewise)",
    )  # fmt: skip
    add("--seeds", type=positive, default=2, metavar="K", help="trainings of each (default: 2)")
    add_priority(confirm)


def _confirm(options: argparse.Namespace) -> int:
    from nasbench.auditing.confirmation import confirm
    from nasbench.progress import progress_display
    from nasbench.study.study import Study

    settle_this_process(Study.open(options.folder).runner.with_priority(options.priority))
    with progress_display(quiet=options.json) as progress:
        found = confirm(
            options.folder,
            options.designs,
            options.networks,
            options.seeds,
            priority=options.priority,
            progress=progress,
        )
    if options.json:
        print_json({"folder": str(found.folder), "networks": found.records(), "conclusion": found.verdict()})
        return 0
    _print(found)
    return 0


def _print(found: Confirmation) -> None:
    lines = [
        {
            "network": one["network"],
            "kind": one["kind"],
            "ms": f"{one['latency_ms']:.1f} {one['latency_is']}" if one["latency_ms"] else "-",
            "searched %": f"{one['searched']:.1f} ({one['searched_seeds']})",
            "ten times as long %": _mean(one["long"], one["long_std"], one["long_seeds"]),
        }
        for one in found.records()
    ]
    print_table(lines, title=f"after {found.fidelity.samples:,} samples, test images, fresh seeds (trainings)")
    for line in found.verdict():
        print(line)
    print(f"\nAll of it: {found.folder} (scores.jsonl, confirmed.csv)")
    print(f"On the study's page: nasbench report {shlex.quote(str(found.folder.parent))}")


def _mean(mean: float, std: float | None, seeds: int) -> str:
    return f"{mean:.1f} ({seeds})" if std is None else f"{mean:.1f} ± {std:.1f} ({seeds})"
