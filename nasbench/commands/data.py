"""`nasbench data check`: the contents and problems of a data set."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from nasbench.commands.common import add_group, add_verb, print_facts, print_json, print_table
from nasbench.errors import visible

if TYPE_CHECKING:
    from nasbench.proxy.data.checking import DataReport

SHOWN_CLASSES = 20


def add(verbs: Any) -> None:
    group = add_group(verbs, "data", "images to train on: what they are, before hours go into them")
    check = add_verb(
        group, "check", "classes, sizes, duplicates, damaged and odd files, and what will be done about each",
        "nasbench data check photos/\nnasbench data check labels.csv --json", _check, True,
    )  # fmt: skip
    check.add_argument(
        "data",
        metavar="PATH",
        help="a folder, a CSV of paths and labels, parquet, tar shards, hf:NAME or a known name",
    )


def _check(options: argparse.Namespace) -> int:
    from nasbench.files import data_spec
    from nasbench.proxy.data import load_dataset
    from nasbench.proxy.data.checking import check_data
    from nasbench.study.task import DATASETS

    report = check_data(load_dataset(data_spec(options.data, DATASETS)))
    print_json(report.to_dict()) if options.json else _print(report)
    return 0


def _print(report: DataReport) -> None:
    from nasbench.proxy.data.checking import FINDINGS, largest_and_smallest

    content: Any = report.to_dict()
    sides = {name: f"{width} x {height}" for name, (width, height) in content["width_and_height"].items()}
    print_facts(
        {
            "data": report.name,
            "classes": len(report.classes),
            **{f"{split} images": sum(counts) for split, counts in report.counts.items()},
            **{f"{name} width and height": size for name, size in sides.items()},
        }
    )
    largest, smallest = largest_and_smallest(report)
    print(visible(f"largest over smallest training class: {report.imbalance:.2f} ({largest} over {smallest})"))
    rows = [
        {"class": name, **{s: counts[i] for s, counts in report.counts.items()}}
        for i, name in enumerate(report.classes)
    ]
    print_table(rows[:SHOWN_CLASSES], title="images of each class")
    if len(rows) > SHOWN_CLASSES:
        print(f"and {len(rows) - SHOWN_CLASSES} more classes (--json has all)")
    if report.findings:
        print_table(
            [
                {"found": what, "images": found.count, "what is done": FINDINGS[what], "the first": found.files[0]}
                for what, found in report.findings.items()
            ],
            title="what is odd",
        )
    else:
        print("nothing odd: every image can be read, is there once, and is RGB of 8 bits")
    for note in report.notes:
        print(visible(note))
