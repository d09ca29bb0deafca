"""`nasbench space show | size | sample | contains | importance`: look into a search space."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.commands import importances
from nasbench.commands.common import (
    add_classes,
    add_group,
    add_verb,
    positive,
    print_json,
    print_table,
    whole,
    write_architectures,
)

if TYPE_CHECKING:
    from nasbench.arch.architecture import Architecture


def add(verbs: Any) -> None:
    """Describe these verbs to the command line."""
    group = add_group(verbs, "space", "look into a search space: show, size, sample, contains, importance")
    show = add_verb(group, "show", "what a space offers, stage by stage", "nasbench space show metablock", _show, True)
    size = add_verb(group, "size", "how many architectures a space holds", "nasbench space size metablock", _size, True)
    sample = add_verb(
        group, "sample", "draw architectures, within budgets if given",
        "nasbench space sample metablock --budget 1GFLOP -n 5", _sample, True,
    )  # fmt: skip
    contains = add_verb(
        group, "contains", "whether architectures belong to a space; of one alone, which spaces hold it",
        "nasbench space contains metablock mobilevit_s my_design.toml", _contains, True,
    )  # fmt: skip
    for parser in (show, size, sample):
        parser.add_argument("space", help="a shipped search space or a TOML file")
    sample.add_argument("-n", "--count", type=positive, default=5, metavar="N", help="how many (default: 5)")
    sample.add_argument("--budget", action="append", default=[], metavar="BUDGET", help="such as 1GFLOP; repeatable")
    add_classes(sample)
    sample.add_argument("--device", default="this-machine", help="profile that predicts for budgets in ms, MBmem or mJ")
    sample.add_argument("--seed", type=whole, default=0, help="seed of the draw (default: 0)")
    sample.add_argument("--out", metavar="DIR", help="also write each as DIR/ID.toml")
    contains.add_argument(
        "space", metavar="SPACE", help="a shipped search space or a TOML file; leave out for all shipped"
    )
    contains.add_argument("architectures", nargs="*", metavar="ARCH", help="shipped names or TOML files")
    importances.add(group)


def _show(options: argparse.Namespace) -> int:
    from nasbench.space.shipped import load_space

    space = load_space(options.space)
    content = space.to_dict()
    if options.json:
        print_json(content | {"size": space.size()})
        return 0
    print(f"{content['name']}: {_count(space.size())} architectures")
    parts: dict[str, Any] = {name: content[name] for name in ("resolution", "in_channels") if name in content}
    parts |= {"stem": content.get("stem", {})}
    stages = content["stages"]
    assert isinstance(stages, list)
    parts |= {f"stage {index + 1}": stage for index, stage in enumerate(stages)}
    parts |= {name: content[name] for name in ("head", "constraints") if name in content}
    for name, part in parts.items():
        print(textwrap.fill(f"{name:<12}{_choices(part)}", width=100, subsequent_indent=" " * 12))
    return 0


def _choices(part: Any) -> str:
    """`depth 1 2 3; kernel 3 5`: the choices of each field."""
    if isinstance(part, dict):
        return "; ".join(f"{name} {_choices(values)}" for name, values in part.items())
    return " ".join(map(str, part)) if isinstance(part, list) else str(part)


def _count(number: int) -> str:
    return f"{number:,}" if number < 1e9 else f"{float(number):.3g}"


def _size(options: argparse.Namespace) -> int:
    from nasbench.space.shipped import load_space

    space = load_space(options.space)
    if options.json:
        print_json({"space": space.name, "size": space.size()})
    else:
        print(f"{space.size():,} architectures ({_count(space.size())})")
    return 0


def _sample(options: argparse.Namespace) -> int:
    import numpy as np

    from nasbench.costs.analytic import cost
    from nasbench.costs.budget import device_metrics, parse_budgets
    from nasbench.space import RejectionCounter
    from nasbench.space.shipped import load_space

    space, budgets, rejected = load_space(options.space), parse_budgets(options.budget), RejectionCounter()
    rng, asked = np.random.default_rng(options.seed), device_metrics(budgets)
    predict = _predictor(options, asked) if asked else None
    samples = [space.sample(rng, budgets, options.classes, rejected, predict) for _ in range(options.count)]
    if options.out:
        write_architectures(samples, Path(options.out))
    costs = [cost(arch, options.classes).to_dict() for arch in samples]
    if options.json:
        designs = [{"id": arch.id, "architecture": arch.to_dict(), **c} for arch, c in zip(samples, costs)]
        print_json({"samples": designs, "rejected": dict(rejected.rejected)})
        return 0
    print_table([_summary(arch, c) for arch, c in zip(samples, costs)])
    for rule, count in rejected.rejected.most_common():
        print(f"rejected {count:,} by {rule}")
    return 0


def _predictor(options: argparse.Namespace, metrics: Sequence[str]) -> Callable[[Architecture], dict[str, float]]:
    """Upper ends of an architecture's predicted `metrics`, from a stored profile."""
    from nasbench.latency.profile import load_device

    profile = load_device(options.device)
    profile.require_metrics(metrics)
    return lambda arch: profile.bounds(arch, metrics, options.classes)


def _summary(arch: Architecture, costs: dict[str, int]) -> dict[str, Any]:
    stages = ", ".join(f"{stage.block} {stage.depth}x{stage.channels}" for stage in arch.stages if stage.depth)
    return {
        "id": arch.id,
        "px": arch.resolution,
        "MACs M": f"{costs['macs'] / 1e6:,.1f}",
        "params M": f"{costs['params'] / 1e6:.2f}",
        "stages": stages,
    }


def _contains(options: argparse.Namespace) -> int:
    from nasbench.arch.library import load
    from nasbench.space.shipped import load_space, shipped_spaces

    if options.architectures:
        space = load_space(options.space)
        reasons = {name: space.outside(load(name)) for name in options.architectures}
    else:
        arch = load(options.space)
        reasons = {name: load_space(name).outside(arch) for name in shipped_spaces()}
    if options.json:
        print_json({name: {"contained": why is None, "reason": why} for name, why in reasons.items()})
    else:
        for name, why in reasons.items():
            print(f"{name}: yes" if why is None else f"{name}: no, {why}")
    return 0
