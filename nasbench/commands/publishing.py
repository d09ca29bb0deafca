"""`nasbench publish`: a saved model as a folder for the Hugging Face hub."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from nasbench.commands.common import add_verb


def add(verbs: Any) -> None:
    parser = add_verb(
        verbs, "publish", "a saved model as a folder for the Hugging Face hub: weights, config.json, model card",
        "nasbench publish best.safetensors --to mine --licence apache-2.0", _publish,
    )  # fmt: skip
    parser.add_argument("file", metavar="FILE", help="a .safetensors file that nasbench saved")
    parser.add_argument("--to", metavar="DIR", required=True, help="the folder to write; it must be new or empty")
    parser.add_argument("--licence", default="unknown", metavar="ID", help="of the weights, such as apache-2.0 or mit")
    parser.add_argument("--name", default="", help="what the card calls the model (default: the network's name)")


def _publish(options: argparse.Namespace) -> int:
    from nasbench.weights.publish import publish

    written = publish(Path(options.file), Path(options.to), options.licence, options.name)
    print(f"{options.to}: {', '.join(path.name for path in written)}; nothing was sent anywhere")
    if options.licence == "unknown":
        print("The card states no licence, so nobody may use the model; --licence says which.", file=sys.stderr)
    return 0
