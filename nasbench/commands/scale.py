"""`nasbench scale ARCH | train | fit | compare | plan`: families of a design, and laws of how their error falls."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.commands import laws
from nasbench.commands.common import (
    add_classes,
    add_data,
    add_group,
    add_priority,
    add_runner,
    add_verb,
    print_json,
    print_table,
    settle_this_process,
    up_to,
    write_architectures,
)

if TYPE_CHECKING:
    from nasbench.arch.architecture import Architecture
    from nasbench.scaling.rules import Rule

RULES_HELP = "compound, fast, width, depth, resolution or searched"
ARCH_HELP = "a shipped name such as emo_5m, or a TOML file"


def add(verbs: Any) -> None:
    group = add_group(
        verbs,
        "scale",
        "families of a design, and what more compute would buy: ARCH, train, fit, compare, plan",
        "design",
    )
    _add_design(group)
    _add_train(group)
    laws.add(group)


def _add_design(group: Any) -> None:
    design = add_verb(
        group, "design", "scale a design to one or several targets: `nasbench scale ARCH` is short for it",
        "nasbench scale design emo_5m --to 500MFLOP 1GFLOP 2GFLOP --out designs\n"
        "nasbench scale design fastvit_sa12 --to fastvit_sa24 fastvit_sa36 --rule depth\n"
        "nasbench scale design emo_5m --to 5ms --device this-machine", _design, True,
    )  # fmt: skip
    add = design.add_argument
    add("architecture", metavar="ARCH", help=ARCH_HELP)
    add("--to", nargs="+", required=True, metavar="TARGET", help="2GFLOP, 3Mparams, 5ms, or a design to match in FLOPs")
    add("--rule", default="fast", help=f"how it grows: {RULES_HELP} (default: fast)")
    add("--device", default="this-machine", help="the profile that predicts milliseconds (default: this-machine)")
    add_classes(design)
    add("--space", default="metablock", help="the space that `in space` is about (default: metablock)")
    add("--no-check", action="store_true", help="do not build the designs and make a training step")
    add("--out", metavar="DIR", help="also write each as DIR/NAME.toml")
    add("--seeds", type=up_to(1000), default=1, metavar="N", help="trainings of each way to grow, for --rule searched")
    add("--data", default="fashion-on-earth", help="images for --rule searched")


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
    add("--samples", nargs="+", type=up_to(10**9), default=[3200], metavar="N", help="images seen (default: 3200)")
    add("--seeds", type=up_to(1000), default=3, metavar="N", help="trainings of each (default: 3)")
    add("--recipe", default="proxy-even", help="how they are trained: proxy-even (default), another or a TOML file")
    add("--evaluate", type=up_to(10**9), default=2500, metavar="N", help="images scored at most (default: 2500)")
    add_data(train)
    add_runner(train)
    add("--out", required=True, metavar="DIR", help="the study's folder; one that was stopped goes on")
    add_priority(train)


def _design(options: argparse.Namespace) -> int:
    from nasbench.arch.library import load
    from nasbench.scaling.family import make_family, parse_targets, side_by_side

    arch = load(options.architecture)
    targets, siblings = parse_targets(options.to, options.classes)
    rule = _rule(options, arch)
    members = make_family(
        arch, targets, rule, options.classes, options.device, options.space, check=not options.no_check
    )
    if options.out:
        write_architectures([member.scaled.arch for member in members], Path(options.out))
    if options.json:
        shares = {"depth": rule.depth, "width": rule.width, "resolution": rule.resolution}
        print_json({"base": arch.label, "rule": rule.name, "shares": shares, "designs": [m.to_dict() for m in members]})
        return 0
    print(f"rule {rule.name}: of the added cost {rule.depth:.0%} depth, {rule.width:.0%} width, "
          f"{rule.resolution:.0%} resolution ({rule.source})")  # fmt: skip
    print_table([member.row() for member in members], title=f"{arch.label} scaled")
    for member, sibling in zip(members, siblings):
        if member.outside:
            print(f"{member.scaled.arch.name} is outside {options.space}: {member.outside}")
        if sibling is not None:
            differing = side_by_side(member.scaled.arch, sibling, options.classes)
            if differing:
                print_table(differing, title=f"where it differs from {sibling.label}")
            else:
                print(f"{member.scaled.arch.name} is {sibling.label}, field by field")
    return 0


def _rule(options: argparse.Namespace, arch: Architecture) -> Rule:
    """The rule by name; `searched` is found by training."""
    from nasbench.scaling.rules import SEARCHED, rule_named

    if options.rule != SEARCHED:
        return rule_named(options.rule)
    import torch

    from nasbench.scaling.rule_search import search_rule

    torch.set_num_threads(1)
    found = search_rule(
        arch, options.seeds, data=options.data, progress=lambda text: print(text, file=sys.stderr, flush=True)
    )
    print(
        f"against the fast rule ln(error) should fall by {found.gain:.3f} ± {found.scatter:.3f} at twice the cost; "
        "the rule moves towards the best shares as far as that exceeds the scatter", file=sys.stderr,
    )  # fmt: skip
    return found.rule


def _train(options: argparse.Namespace) -> int:
    from nasbench.arch.library import load
    from nasbench.costs.budget import parse_budgets
    from nasbench.progress import progress_display
    from nasbench.scaling.study import new_study
    from nasbench.scaling.training import train_family
    from nasbench.study.runner import load_runner

    runner = load_runner(options.runner, options.priority)
    study = new_study(
        [load(name) for name in options.architectures], parse_budgets(options.to), options.samples, options.seeds,
        rule=options.rule, recipe=options.recipe, fidelity={"evaluate": options.evaluate}, data=options.data,
        runner=runner,
    )  # fmt: skip
    settle_this_process(runner)
    with progress_display(quiet=options.json) as progress:
        folder = train_family(study, options.out, progress)
    if options.json:
        print_json({"folder": str(folder), "study": study.to_dict()})
    else:
        print(f"{folder}: `nasbench scale fit {folder}` fits laws to it")
    return 0
