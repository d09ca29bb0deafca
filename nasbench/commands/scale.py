"""`nasbench scale ARCH | train | fit | compare | plan`: families of a design, and laws of how their error falls."""

from __future__ import annotations

import argparse
from typing import Any

from nasbench.commands.common import add_group, add_verb, positive, print_json

RULES_HELP = "compound, fast, width, depth, resolution or searched"
ARCH_HELP = "a shipped name such as emo_5m, or a TOML file"


def add(verbs: Any) -> None:
    group = add_group(
        verbs,
        "scale",
        "families of a design, and what more compute would buy: ARCH, train, fit, compare, plan",
        "design",
    )
    _add_train(group)


def _add_train(group: Any) -> None:
    train = add_verb(
        group, "train", "train designs at several sizes and sample counts, for laws to be fitted to",
        "nasbench scale train emo_1m fastvit_t8 --to 300MFLOP 600MFLOP 1.2GFLOP 2.4GFLOP --out results/mine", _train,
        True,
    )  # fmt: skip
    add = train.add_argument
    add("architectures", nargs="+", metavar="ARCH", help=ARCH_HELP)
    add("--to", nargs="+", required=True, metavar="TARGET", help="sizes with their unit, smallest first")
    add("--rule", default="width", help="how the designs grow: compound, fast, width, depth or resolution")
    add("--samples", nargs="+", type=positive, default=[3200], metavar="N", help="images seen (default: 3200)")
    add("--seeds", type=positive, default=3, metavar="N", help="trainings of each (default: 3)")
    add("--evaluate", type=positive, default=2500, metavar="N", help="images scored at most (default: 2500)")
    add("--data", default="fashion-on-earth", help="fashion-on-earth (default), cifar10 or a folder")
    add("--runner", default="laptop", help="laptop, gpu, cluster, serial or a TOML file (default: laptop)")
    add("--out", required=True, metavar="DIR", help="the study's folder; one that was stopped goes on")


def _train(options: argparse.Namespace) -> int:
    from nasbench.budget import parse_budgets
    from nasbench.library import load
    from nasbench.report.progress import progress_display
    from nasbench.running.spec import load_runner
    from nasbench.scaling.study import new_study, train_family

    runner = load_runner(options.runner)
    study = new_study(
        [load(name) for name in options.architectures], parse_budgets(options.to), options.samples, options.seeds,
        rule=options.rule, fidelity={"evaluate": options.evaluate}, data=options.data, runner=runner.to_dict(),
    )  # fmt: skip
    if runner.kind == "serial":  # the trials run in this process
        import torch

        from nasbench.proxy.train import tune_allocator

        torch.set_num_threads(runner.threads)
        tune_allocator()
    with progress_display(quiet=options.json) as progress:
        folder = train_family(study, options.out, progress)
    if options.json:
        print_json({"folder": str(folder), "study": study.to_dict()})
    else:
        print(f"{folder}: `nasbench scale fit {folder}` fits laws to it")
    return 0
