"""`nasbench train`: networks trained for use, at their own size, side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.commands.common import (
    add_priority,
    add_runner,
    add_verb,
    positive,
    print_json,
    print_table,
    share,
    up_to,
)

if TYPE_CHECKING:
    from nasbench.training.result import Comparison

EXAMPLE = """nasbench train mobilevit_xxs mobilenetv2_100 --data photos/ --seeds 3
nasbench train results/mine#1 --data photos/ --recipe mobile --out results/photos
nasbench train emo_1m --data cifar10 --resolution 64 --epochs 5 --set lr=0.01
nasbench train emo_1m --data photos/ --objective masked --out results/painted"""
MAX_RESOLUTION = 4096


def add(verbs: Any) -> None:
    train = add_verb(
        verbs, "train", "train networks for use, at their own size, and keep the best weights of each", EXAMPLE,
        _train, True,
    )  # fmt: skip
    add = train.add_argument
    add(
        "architectures", nargs="+", metavar="ARCH",
        help="shipped names, TOML files, or STUDY#ID: a design of a search by its place in `nasbench front`, or its id",
    )  # fmt: skip
    add(
        "--data",
        default="fashion-on-earth",
        help="fashion-on-earth (default), cifar10, a folder, a CSV of paths and labels, parquet files, shards "
        "or hf:NAME",
    )
    add(
        "--recipe", default="quick", metavar="NAME",
        help="quick (default), mobile, fine-tune or a TOML file such as those in runners/recipes/training",
    )  # fmt: skip
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="another figure of the recipe; repeatable")
    add("--epochs", type=up_to(10**5), metavar="N", help="instead of the recipe's")
    add("--resolution", type=up_to(MAX_RESOLUTION), metavar="PX", help="instead of the design's own")
    add("--seeds", type=positive, default=1, metavar="K", help="trainings of each network (default: 1)")
    add("--weights", metavar="FILE", help="weights of the network to begin from; classes of other data begin anew")
    add(
        "--objective", default="supervised", choices=("supervised", "masked"),
        help="masked: paint hidden parts of images and read no labels, for --weights of a training with few",
    )  # fmt: skip
    add(
        "--labels", type=share, default=1.0, metavar="SHARE",
        help="of the training and validation images that keep their labels, such as 0.1; the others are not looked at",
    )  # fmt: skip
    add("--teacher", metavar="FILE", help="a saved model of the same classes to learn from as well")
    add_runner(train)
    add("--threads", type=up_to(4096), metavar="N", help="of each training's arithmetic (default: the runner's, 1)")
    add_priority(train)
    add("--tensorboard", action="store_true", help="also write files for TensorBoard")
    add("--out", metavar="DIR", help="where all of it goes (default: results/train); the same command goes on there")


def _train(options: argparse.Namespace) -> int:
    from nasbench.progress import progress_display
    from nasbench.training.start import train_designs

    with progress_display(quiet=options.json) as progress:
        found = train_designs(
            options.architectures,
            options.data,
            recipe=options.recipe,
            changes=options.set,
            epochs=options.epochs,
            resolution=options.resolution,
            seeds=options.seeds,
            weights=options.weights,
            teacher=options.teacher,
            out=options.out,
            runner=options.runner,
            priority=options.priority,
            threads=options.threads,
            tensorboard=options.tensorboard,
            objective=options.objective,
            labels=options.labels,
            progress=progress,
        )
    folder = options.out or "results/train"
    if options.json:
        print_json({"folder": folder, "data": found.data, "recipe": found.recipe, "networks": found.rows()})
    else:
        _print(found, folder)
    return 0


def _print(found: Comparison, folder: str) -> None:
    split = "validation" if found.masked else "test"
    print_table(
        [_row(row, found.figure, "R² %" if found.masked else "test %") for row in found.rows()],
        title=f"{found.noun} on the {split} images of {found.data} (measured), recipe {found.recipe}",
    )
    for row in found.rows():
        print(f"{row['network']}: {Path(folder) / row['best_model']}")
    print(
        f"\nAll of it: {folder} (training.csv, curves.csv, curves.png, curves.svg, curves.pdf, one folder a training)"
    )


def _row(row: dict[str, Any], figure: str, column: str) -> dict[str, Any]:
    mean, std = row[f"{figure}_mean"], row[f"{figure}_std"]
    spread = "" if std is None else f" ± {100 * std:.1f}"
    return {
        "network": row["network"],
        "px": row["resolution"],
        "params M": f"{row['params_deploy'] / 1e6:.2f}",
        "MACs M": f"{row['macs_deploy'] / 1e6:,.1f}",
        column: f"{100 * mean:.1f}{spread}",
        "seeds": row["seeds"],
        "epochs": row["epochs"],
        "training s": f"{row['seconds']:,.0f}",
    }
