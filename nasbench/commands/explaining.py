"""`nasbench explain`: where a model sees its evidence, and what its attention looks at."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nasbench.commands.common import add_verb, print_table


def add(verbs: Any) -> None:
    parser = add_verb(
        verbs, "explain", "Grad-CAM and attention of a saved model on images, as pictures",
        "nasbench explain best.safetensors photo.jpg --out explained", _explain,
    )  # fmt: skip
    parser.add_argument("file", metavar="FILE", help="a .safetensors file that nasbench saved")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="images")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the pictures go")
    parser.add_argument(
        "--class", dest="label", metavar="NAME", help="the class to explain (default: what is answered)"
    )


def _explain(options: argparse.Namespace) -> int:
    from nasbench.errors import require_extra
    from nasbench.explaining.explain import distance_table, explain

    require_extra("captum", "explain", "`nasbench explain`")
    found = explain(Path(options.file), [Path(each) for each in options.images], Path(options.out), options.label)
    print_table([{"image": str(e.path), "class": e.label, "share %": f"{100 * e.share:.1f}"} for e in found])
    distances = distance_table(found)
    if len(distances):
        means = distances.groupby("layer", sort=False)["distance_px"].mean()
        print_table([{"layer": name, "mean distance px": f"{value:.1f}"} for name, value in means.items()])
    alone = [layer.name for layer in found[0].layers if layer.choices == 1]
    if alone:
        print(f"Left out, with a single position to look at: {', '.join(alone)}; a larger image gives them more.")
    print(f"All of it: {options.out}")
    return 0
