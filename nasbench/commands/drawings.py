"""`nasbench draw`: networks as pictures."""

from __future__ import annotations

import argparse
from typing import Any

from nasbench.commands.common import add_classes, add_verb, writable_file
from nasbench.errors import UserError

SIDE_BY_SIDE = 8


def add(verbs: Any) -> None:
    draw = add_verb(
        verbs, "draw", "a network as a drawing, stage by stage; several side by side, their differences marked",
        "nasbench draw mobilevit_s -o mobilevit_s.svg\n"
        "nasbench draw fastvit_t8 results/mine/designs/first.toml results/mine#2 -o three.svg", _draw,
    )  # fmt: skip
    draw.add_argument(
        "architectures", nargs="+", metavar="ARCH",
        help="shipped names, TOML files, or STUDY#ID: a design of a search by its place in `nasbench front`, or its id",
    )  # fmt: skip
    draw.add_argument("-o", "--output", required=True, metavar="FILE.svg", help="where to write")
    add_classes(draw)


def _draw(options: argparse.Namespace) -> int:
    from nasbench.drawing.stages import network_facts
    from nasbench.drawing.svg import draw
    from nasbench.files import write_atomic
    from nasbench.training.designs import design

    output = writable_file(options.output, "drawing.svg")
    if output.suffix.lower() != ".svg":
        raise UserError(f"{output}: a drawing is an SVG file; give it a name that ends in .svg")
    if len(options.architectures) > SIDE_BY_SIDE:
        raise UserError(
            f"{len(options.architectures)} networks: at most {SIDE_BY_SIDE} stand side by side; draw fewer at a time"
        )
    networks = [network_facts(design(text), options.classes) for text in options.architectures]
    write_atomic(output, draw(networks))
    print(f"{output}: {' beside '.join(network.label for network in networks)}")
    return 0
