"""`nasbench profile | reproduce | list | describe | proxy`: what one network costs, and what it is."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from nasbench.commands.common import (
    add_classes,
    add_data,
    add_verb,
    console,
    fidelity_at,
    print_facts,
    print_json,
    print_table,
    whole,
)
from nasbench.errors import UserError

if TYPE_CHECKING:
    from nasbench.arch.architecture import Architecture
    from nasbench.blocks.op import Op

ARCH_HELP = "a shipped name such as mobilevit_s, or a TOML file"


def add(verbs: Any) -> None:
    """Describe these verbs to the command line."""
    _add_profile(verbs)
    _add_reproduce(verbs)
    _add_list(verbs)
    _add_describe(verbs)
    _add_proxy(verbs)


def _add_profile(verbs: Any) -> None:
    profile = add_verb(
        verbs, "profile", "what a network costs, stage by stage", "nasbench profile mobilevit_s", _profile, True
    )
    profile.add_argument("architecture", help=ARCH_HELP)
    profile.add_argument("--train-form", action="store_true", help="stage by stage before re-parameterisation")
    add_classes(profile)


def _add_reproduce(verbs: Any) -> None:
    reproduce = add_verb(
        verbs, "reproduce", "published against own params, MACs and flops",
        "nasbench reproduce mobilevit_s fastvit_t8", _reproduce, True,
    )  # fmt: skip
    reproduce.add_argument("names", nargs="*", metavar="NAME", help="shipped names (default: all)")
    reproduce.add_argument(
        "--table", choices=("blocks", "patches"),
        help="instead: networks with another block, or MobileViT with other patches; cost and measured latency",
    )  # fmt: skip
    reproduce.add_argument("--train", action="store_true", help="with --table: also the proxy accuracy, three seeds")


def _add_list(verbs: Any) -> None:
    listing = add_verb(verbs, "list", "the shipped networks with their sizes", "nasbench list swin", _list, True)
    listing.add_argument("text", nargs="?", default="", metavar="TEXT", help="only names with this in them")


def _add_describe(verbs: Any) -> None:
    describe = add_verb(
        verbs, "describe", "what is in the file of a saved model: architecture, figures, where it comes from",
        "nasbench describe results/train/emo_1m-seed0-1a2b3c4d/best.safetensors", _describe, True,
    )  # fmt: skip
    describe.add_argument("file", metavar="FILE", help="a .safetensors file that nasbench saved")


def _add_proxy(verbs: Any) -> None:
    proxy = add_verb(
        verbs, "proxy", "train one network as a search would, reduced and for a short while, and print what it reached",
        "nasbench proxy emo_1m --rung 1 --seed 0", _proxy, True,
    )  # fmt: skip
    proxy.add_argument("architecture", help=ARCH_HELP)
    add_data(proxy)
    proxy.add_argument("--runner", default="laptop", help="whose ladder and device it uses (default: laptop)")
    proxy.add_argument("--rung", type=whole, default=0, metavar="K", help="rung of the fidelity ladder (default: 0)")
    proxy.add_argument("--seed", type=whole, default=0, help="seed of weights and batches (default: 0)")
    proxy.add_argument("--split", choices=("validation", "test"), default="validation", help="what it is tested on")


def _profile(options: argparse.Namespace) -> int:
    from nasbench.arch.library import load
    from nasbench.costs.analytic import cost, operators

    arch = load(options.architecture)
    deploy = not options.train_form
    stages = _by_stage(operators(arch, options.classes, deploy=deploy))
    totals = {
        "deploy": cost(arch, options.classes, deploy=True).to_dict(),
        "train": cost(arch, options.classes, deploy=False).to_dict(),
    }
    if options.json:
        images = {"resolution": arch.resolution, "in_channels": arch.in_channels}
        about = {"name": arch.name, "id": arch.id, **images, "classes": options.classes}
        print_json({**about, "form": "deploy" if deploy else "train", "stages": stages, "totals": totals})
    else:
        _print_profile(arch, options.classes, stages, totals, "deploy" if deploy else "train")
    return 0


def _by_stage(operators: list[Op]) -> list[dict[str, Any]]:
    """One record a stage, in order; counts are analytic, at batch 1 in float32."""
    from nasbench.costs.analytic import total

    names = dict.fromkeys(op.stage for op in operators)
    return [{"stage": name, **total([op for op in operators if op.stage == name]).to_dict()} for name in names]


MILLIONS = {
    "macs": "MACs M",
    "flops": "flops M",
    "activations": "activations M",
    "weight_bytes": "weights MB",
    "peak_activation_bytes": "peak MB",
}
NOTE = """MACs are multiply-adds; flops are those and norms, pools and resizing, as fvcore counts them.
Weights and peak activations in float32 at batch 1."""


def _print_profile(arch: Architecture, classes: int, stages: list[dict], totals: dict[str, dict], form: str) -> None:
    def shown(name: str, record: dict[str, Any]) -> dict[str, str]:
        millions = {head: f"{record[key] / 1e6:,.3f}" for key, head in MILLIONS.items()}
        return {"": name, "params": f"{record['params']:,}", **millions}

    title = f"{arch.label} ({arch.id}), {form} form, {arch.size_label}, {classes} classes"
    rows = [shown(record["stage"], record) for record in stages]
    print_table([*rows, *(shown(f"total {name}", record) for name, record in totals.items())], title=title)
    console().print(NOTE, style="dim")


def _reproduce(options: argparse.Namespace) -> int:
    from nasbench.arch.library import load
    from nasbench.published.reproduce import published, reproduce

    if options.table:
        return _reproduce_table(options)
    names = options.names or list(published())
    for name in names:
        load(name)  # a wrong name fails before the work
    results = []
    for name in names:  # one by one, since fvcore takes seconds for the large ones
        for result in reproduce([name]):
            results.append(result)
            verdict = "exact" if result.exact else "differs"
            print(f"{name} at {result.resolution} px: {verdict}", file=sys.stderr, flush=True)
    exact = sum(result.exact for result in results)
    if options.json:
        print_json([result.to_dict() for result in results])
    else:
        print_table([row for result in results for row in result.table_rows()])
        print(f"{exact} of {len(results)} are exact: params, MACs and flops of both forms, analytic and counted")
    return 0 if exact == len(results) else 1


def _reproduce_table(options: argparse.Namespace) -> int:
    from nasbench.published.swaps import Training, swap_table
    from nasbench.study.runner import LAPTOP, load_runner, runner_ladder

    if options.names:
        raise UserError(f"--table {options.table} has its own networks; leave {' '.join(options.names)} out")
    training = None
    if options.train:
        training = Training(runner_ladder(LAPTOP).rungs[0].fidelity, load_runner(LAPTOP))
    rows = swap_table(options.table, training, lambda text: print(text, file=sys.stderr, flush=True))
    if options.json:
        print_json(rows)
        return 0
    print_table([_swap_row(row) for row in rows])
    note = "Cost of the deploy form with 1000 classes; latency measured here, one thread, batch 1."
    if options.train:
        note += " Accuracy on the proxy's validation images, mean and deviation over the seeds: no ImageNet figure."
    console().print(note, style="dim")
    return 0


def _swap_row(row: dict[str, Any]) -> dict[str, Any]:
    shown = {
        "network": row["network"], "px": row["px"], "attends in": row["block"], "params": f"{row['params']:,}",
        "MACs M": f"{row['macs'] / 1e6:,.1f}", "measured ms": f"{row['latency_ms']:.2f}",
    }  # fmt: skip
    if "accuracy" in row:
        shown["proxy accuracy %"] = f"{row['accuracy']:.1f} ± {row['deviation']:.1f} ({row['seeds']} seeds)"
    return shown


def _list(options: argparse.Namespace) -> int:
    from nasbench.arch.library import fixed_points, swaps
    from nasbench.costs.analytic import cost

    shipped = {name: arch for name, arch in {**fixed_points(), **swaps()}.items() if options.text in name}
    if not shipped:
        raise UserError(f"no shipped network has {options.text!r} in its name; `nasbench list` names them all")
    costs = {name: cost(arch) for name, arch in shipped.items()}
    rows = [
        {"name": name, "px": shipped[name].resolution, "params": figures.params, "macs": figures.macs}
        for name, figures in sorted(costs.items(), key=lambda item: item[0])
    ]
    if options.json:
        print_json(rows)
    else:
        print_table([row | {"params": f"{row['params']:,}", "macs": f"{row['macs']:,}"} for row in rows])
    return 0


def _describe(options: argparse.Namespace) -> int:
    from nasbench.costs.analytic import cost
    from nasbench.weights.saved import read_saved

    arch, about, form, tensors, values = read_saved(options.file)
    figures = cost(arch, max(1, len(about.classes)), deploy=form == "deploy")
    facts: dict[str, Any] = {
        "name": arch.name, "id": arch.id, "form": form, "resolution": arch.resolution,
        "in_channels": arch.in_channels, "params": figures.params, "macs": figures.macs, "tensors": tensors,
        "values": values,
    }  # fmt: skip
    if options.json:
        print_json({**facts, "architecture": arch.to_dict(), **about.to_dict()})
        return 0
    print_facts(
        {**facts, "classes": f"{len(about.classes)}: {', '.join(about.classes)}" if about.classes else "unknown"}
    )
    if about.normalisation is not None:
        print_facts({"mean": _listed(about.normalisation.mean), "std": _listed(about.normalisation.std)})
    for title, content in (("measured", about.figures), ("provenance", about.provenance)):
        if content:
            print(f"\n{title}:")
            print_facts(content)
    return 0


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _proxy(options: argparse.Namespace) -> int:
    from nasbench.arch.library import load
    from nasbench.study.runner import load_runner
    from nasbench.study.task import DataSplit, Task, require_images_for

    arch, runner = load(options.architecture), load_runner(options.runner)
    arch.require_classes()
    runner.require_device()
    require_images_for(arch.in_channels, arch.label)
    fidelity = fidelity_at(options.rung, options.runner)
    data = DataSplit(options.data, split=options.split)
    task = Task(arch, fidelity, options.seed, data, runner)

    import torch

    from nasbench.hardware import tune_allocator
    from nasbench.proxy.evaluate import evaluate

    torch.set_num_threads(runner.threads)
    tune_allocator()
    metrics = evaluate(task)
    about = {"name": arch.name, "id": arch.id, "rung": options.rung, "seed": options.seed, "split": options.split}
    print_json(about | metrics) if options.json else print_facts(about | metrics)
    return 0
