"""The weights of `nasbench export --weights`: read, and what does not fit said in the command line's words."""

from __future__ import annotations

import argparse
import warnings
from typing import TYPE_CHECKING, Any

from nasbench.errors import UserError

if TYPE_CHECKING:
    from nasbench.arch.architecture import Architecture
    from nasbench.nn.model import Model

FRESH = "fresh weights (give --weights for trained ones)"


def add_options(verb: Any) -> None:
    """Where weights come from and how they are read."""
    verb.add_argument(
        "--weights", metavar="FILE",
        help="a .safetensors, .pt or .npz file of weights, merged or not (default: fresh weights)",
    )  # fmt: skip
    verb.add_argument("--layout", default="auto", help="its layout: auto, official, timm or nasbench (default: auto)")
    verb.add_argument(
        "--fresh-head", action="store_true", help="with --weights: leave the classifier, and what the file lacks, fresh"
    )
    verb.add_argument(
        "--adapt-stem", action="store_true",
        help="with --weights: make the stem's weights fit images of other channels than the file's",
    )  # fmt: skip


def deployed(arch: Architecture, options: argparse.Namespace) -> tuple[Model, str]:
    """The deploy form with the weights that were asked for, and in words where they come from."""
    from nasbench.nn.finite import require_finite
    from nasbench.nn.model import build, reparameterise
    from nasbench.weights.checkpoints import load_deployed
    from nasbench.weights.matching import counted, listed

    model = build(arch, num_classes=options.classes)
    if options.weights is None:
        if options.fresh_head or options.adapt_stem:
            option = "--fresh-head" if options.fresh_head else "--adapt-stem"
            raise UserError(f"{option} says how a file of weights is read; give one by --weights, or leave it out")
        return reparameterise(model), FRESH
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # said below
            how = (options.layout, options.fresh_head, options.adapt_stem)
            deploy, loaded = load_deployed(model, options.weights, *how)
    except UserError as error:
        raise _in_options(error, options) from None
    require_finite(deploy, options.weights)
    fresh = f"; fresh: {listed(list(loaded.fresh))}" if loaded.fresh else ""
    over = f"; passed over: {listed(list(loaded.passed_over))}" if loaded.passed_over else ""
    adapted = f"; stem adapted to {counted(arch.in_channels)}" if loaded.adapted else ""
    return deploy, f"{options.weights}{fresh}{over}{adapted}"


def _in_options(error: UserError, options: argparse.Namespace) -> UserError:
    """The error with the file before it, and its remedy as an option where there is one."""
    from nasbench.weights.matching import WeightsError

    text, head = str(error), "--fresh-head to leave the classifier fresh"
    if isinstance(error, WeightsError) and error.cause == "classes":
        text = f"{error.what}; give --classes {error.classes}, or {head}"
    elif isinstance(error, WeightsError) and error.cause == "channels":
        text = text.replace("load them with adapt_stem=True", "give --adapt-stem")
        text = text.replace("fresh_head=True", "--fresh-head")
    elif isinstance(error, WeightsError) and error.cause == "headless":
        text = f"{error.what}: missing {', '.join(error.missing)}; give {head}"
    return UserError(text if text.startswith(str(options.weights)) else f"{options.weights}: {text}")
