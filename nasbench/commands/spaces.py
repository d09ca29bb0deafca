"""`nasbench space show | size | sample | contains`: look into a search space."""

from __future__ import annotations

import argparse
from typing import Any

from nasbench.commands.common import add_group, add_verb, positive


def add(verbs: Any) -> None:
    group = add_group(verbs, "space", "look into a search space: show, size, sample, contains")
    show = add_verb(group, "show", "what a space offers, stage by stage", "nasbench space show metablock", _show, True)
    size = add_verb(group, "size", "how many architectures a space holds", "nasbench space size metablock", _size, True)
    sample = add_verb(
        group, "sample", "draw architectures, within budgets if given",
        "nasbench space sample metablock --budget 1GFLOP -n 5", _sample, True,
    )  # fmt: skip
    contains = add_verb(
        group, "contains", "whether architectures belong to a space",
        "nasbench space contains metablock mobilevit_s my_design.toml", _contains, True,
    )  # fmt: skip
    for parser in (show, size, sample, contains):
        parser.add_argument("space", help="a shipped search space or a TOML file")
    sample.add_argument("-n", "--count", type=positive, default=5, metavar="N", help="how many (default: 5)")
    sample.add_argument("--budget", action="append", default=[], metavar="BUDGET", help="such as 1GFLOP; repeatable")
    sample.add_argument("--classes", type=positive, default=1000, metavar="N", help="classes (default: 1000)")
    sample.add_argument("--seed", type=int, default=0, help="seed of the draw (default: 0)")
    sample.add_argument("--out", metavar="DIR", help="also write each as DIR/ID.toml")
    contains.add_argument("architectures", nargs="+", metavar="ARCH", help="shipped names or TOML files")


def _show(options: argparse.Namespace) -> int:
    raise NotImplementedError


_size = _sample = _contains = _show
