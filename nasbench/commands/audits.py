"""`nasbench audit`: how a rung ranks networks of which the truth is known."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from nasbench.commands.common import (
    add_data,
    add_priority,
    add_recipe,
    add_runner,
    add_verb,
    positive,
    print_json,
    print_table,
    settle_this_process,
)

if TYPE_CHECKING:
    from nasbench.auditing.result import Audit

EXAMPLE = """nasbench audit
nasbench audit --rung screen --seeds 2 --long
nasbench audit --networks emo_1m fastvit_t8 mine.toml --recipe mine-recipe.toml --samples 1600
nasbench audit --data photos/ --long"""


def add(verbs: Any) -> None:
    audit = add_verb(
        verbs, "audit", "how a rung ranks networks of which the truth is known: published, and trained for longer",
        EXAMPLE, _audit, True,
    )  # fmt: skip
    add = audit.add_argument
    add("--rung", default="-1", help="which rung of the runner's ladder: its number from 0 or its name (default: last)")
    add(
        "--networks", nargs="+", metavar="NAME",
        help="shipped names or TOML files (default: all that were trained on ImageNet-1k alone, up to 5 GMAC)",
    )  # fmt: skip
    add("--seeds", type=positive, default=1, metavar="K", help="trainings of each at least (default: 1)")
    add_recipe(audit, "rung")
    add("--samples", type=positive, metavar="N", help="another number of images seen than the rung's")
    add_data(audit)
    add("--long", action="store_true", help="also train ten times as long, with one seed")
    add("--published", metavar="FILE", help="further published accuracies: a TOML file with NAME = 75.1")
    add_runner(audit)
    add_priority(audit)
    add("--device", default="this-machine", help="profile that latencies are taken from (default: this-machine)")
    add("--out", metavar="DIR", help="where scores and report go (default: results/audit-FIDELITY); goes on there")


def _audit(options: argparse.Namespace) -> int:
    from nasbench.auditing.start import audit, folder_of
    from nasbench.progress import progress_display
    from nasbench.study.runner import load_runner

    settle_this_process(load_runner(options.runner, options.priority))
    with progress_display(quiet=options.json) as progress:
        found = audit(
            options.networks,
            options.rung,
            options.seeds,
            recipe=options.recipe,
            samples=options.samples,
            data=options.data,
            long=options.long,
            runner=options.runner,
            published=options.published,
            device=options.device,
            out=options.out,
            priority=options.priority,
            progress=progress,
        )
    folder = folder_of(found.fidelity, options.out)
    if options.json:
        print_json({"folder": str(folder), **found.to_dict()})
        return 0
    _print(found)
    print(f"\nAll of it: {folder} (scores.jsonl, audit.csv, audit.json, audit.png, audit.svg, audit.pdf)")
    return 0


def _print(found: Audit) -> None:
    """Networks, how each ranking agrees with the truth, and what that says."""
    from nasbench.auditing.result import TRUTHS
    from nasbench.auditing.tables import family_table, network_table, ranking_table

    print_table(network_table(found), title="networks, best at this rung first")
    print("published: top-1 on ImageNet-1k in %, quoted; (d) distilled, (p) pre-trained: not compared.")
    if families := family_table(found):
        print_table(families, title="families, the furthest off first")
    for truth in ("published", "long"):
        if lines := ranking_table(found, truth):
            print_table(lines, title=f"Kendall's tau [90 % interval] with {TRUTHS[truth].format(times=found.times)}")
    for line in found.verdict():
        print(line)
