"""`nasbench profile | reproduce | train | export`: what one network costs, and what can be made of it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from nasbench.commands import weights
from nasbench.commands.common import (
    add_verb,
    cell,
    console,
    positive,
    print_facts,
    print_json,
    print_table,
    whole,
    writable_file,
)
from nasbench.errors import UserError, shown

if TYPE_CHECKING:
    from nasbench.arch.architecture import Architecture
    from nasbench.blocks.op import Op

EXPORT_TOLERANCE = 1e-3  # of the largest logit in float32; what is right differs by about 1e-6
DYNAMIC = "dynamic"  # of `--batch`: any number of images at a time
MAX_BATCH = 1024
ARCH_HELP = "a shipped name such as mobilevit_s, or a TOML file"


def add(verbs: Any) -> None:
    """Describe these verbs to the command line."""
    _add_profile(verbs)
    _add_reproduce(verbs)
    _add_list(verbs)
    _add_train(verbs)
    _add_export(verbs)


def _add_profile(verbs: Any) -> None:
    profile = add_verb(
        verbs, "profile", "what a network costs, stage by stage", "nasbench profile mobilevit_s", _profile, True
    )
    profile.add_argument("architecture", help=ARCH_HELP)
    profile.add_argument("--train-form", action="store_true", help="stage by stage before re-parameterisation")
    profile.add_argument("--classes", type=positive, default=1000, metavar="N", help="classes (default: 1000)")


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


def _add_train(verbs: Any) -> None:
    train = add_verb(
        verbs, "train", "train one network as a search would, and print what it reached",
        "nasbench train emo_1m --rung 1 --seed 0", _train, True,
    )  # fmt: skip
    train.add_argument("architecture", help=ARCH_HELP)
    train.add_argument("--data", default="fashion-on-earth", help="fashion-on-earth, cifar10 or a folder")
    train.add_argument("--runner", default="laptop", help="whose ladder and device it uses (default: laptop)")
    train.add_argument("--rung", type=whole, default=0, metavar="K", help="rung of the fidelity ladder (default: 0)")
    train.add_argument("--seed", type=whole, default=0, help="seed of weights and batches (default: 0)")
    train.add_argument("--split", choices=("validation", "test"), default="validation", help="what it is tested on")


def _add_export(verbs: Any) -> None:
    export = add_verb(
        verbs, "export", "the deploy form as an ONNX file",
        "nasbench export fastvit_t8 -o fastvit_t8.onnx\n"
        "nasbench export mobilevit_s --weights mobilevit_s.safetensors -o mobilevit_s.onnx\n"
        "nasbench export swin_t --batch dynamic -o swin_t.onnx", _export,
    )  # fmt: skip
    export.add_argument("architecture", help=ARCH_HELP)
    export.add_argument("-o", "--output", required=True, metavar="FILE", help="where to write")
    weights.add_options(export)
    export.add_argument("--classes", type=positive, default=1000, metavar="N", help="classes (default: 1000)")
    export.add_argument(
        "--batch", type=_batch, default=1, metavar="N", help="images at a time, or dynamic for any number (default: 1)"
    )


def _batch(text: str) -> int | None:
    """An argparse type: a number of images, or None for any."""
    if text == DYNAMIC:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= len(text) <= 9 or not 1 <= int(text) <= MAX_BATCH:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is neither a whole number from 1 to {MAX_BATCH} nor {DYNAMIC!r}"
        )
    return int(text)


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


def _train(options: argparse.Namespace) -> int:
    from nasbench.arch.library import load
    from nasbench.study.runner import load_runner, runner_ladder
    from nasbench.study.task import DataSplit, Task, require_images_for

    arch, runner = load(options.architecture), load_runner(options.runner)
    arch.require_classes()
    runner.require_device()
    require_images_for(arch.in_channels, arch.label)
    rungs = runner_ladder(options.runner).rungs
    if not 0 <= options.rung < len(rungs):
        known = f"the ladder of runner {options.runner!r} has rungs 0 to {len(rungs) - 1}"
        raise UserError(f"--rung {options.rung}: {known}; choose one of them")
    data = DataSplit(options.data, split=options.split)
    task = Task(arch, rungs[options.rung].fidelity, options.seed, data, runner)

    import torch

    from nasbench.hardware import tune_allocator
    from nasbench.proxy.evaluate import evaluate

    torch.set_num_threads(runner.threads)
    tune_allocator()
    metrics = evaluate(task)
    about = {"name": arch.name, "id": arch.id, "rung": options.rung, "seed": options.seed, "split": options.split}
    print_json(about | metrics) if options.json else print_facts(about | metrics)
    return 0


def _export(options: argparse.Namespace) -> int:
    import numpy as np
    import torch

    from nasbench.arch.library import load
    from nasbench.files import write_atomic
    from nasbench.latency.export import export_onnx, onnx_difference

    output = writable_file(options.output, "network.onnx")
    arch = load(options.architecture)
    arch.require_classes()
    torch.manual_seed(0)
    deploy, source = weights.deployed(arch, options)
    content = export_onnx(deploy, arch.resolution, options.batch)
    tried = (1, 3) if options.batch is None else (options.batch,)
    error = float(np.max([onnx_difference(deploy, content, arch.resolution, batch=batch) for batch in tried]))
    if not error <= EXPORT_TOLERANCE:  # also where it is NaN
        raise RuntimeError(f"the exported {arch.label} differs from torch by {error:.1e} of the largest logit")
    write_atomic(output, content)
    size = cell(len(content) / 1e6)
    batch = {None: ", any batch size", 1: ""}.get(options.batch, f", batch {options.batch}")
    print(f"{output}: {arch.label}, {arch.size_label}{batch}, {options.classes} classes, {size} MB, {source}")
    print(f"onnxruntime and torch differ by {error:.1e} of the largest logit on random images")
    return 0
