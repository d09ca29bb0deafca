"""What the verbs of `nasbench latency` share: options of measurements, progress, the summary of a profile."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from nasbench.commands.common import print_facts, print_json, up_to, whole
from nasbench.errors import shown

if TYPE_CHECKING:
    from nasbench.latency.device import Settings


def add_networks(parser: argparse.ArgumentParser, count: int, flag: str = "--networks") -> None:
    parser.add_argument(
        "--space", default="metablock", help="where the measured networks come from (default: metablock)"
    )
    parser.add_argument(
        flag, dest="count", type=up_to(10_000), default=count, metavar="N", help=f"how many (default: {count})"
    )
    parser.add_argument("--seed", type=whole, default=0, help="seed of their choice (default: 0)")


def add_accept_noise(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--accept-noise", action="store_true", help="make a profile even where the passes disagree")


def add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runtime", default="onnxruntime", help="onnxruntime (default), openvino, ncnn, torch or torch-compile"
    )
    parser.add_argument("--threads", type=up_to(4096), default=1, metavar="N", help="of the runtime (default: 1)")
    parser.add_argument("--batch", type=up_to(1024), default=1, metavar="N", help="images at a time (default: 1)")
    parser.add_argument("--dtype", default="fp32", help="fp32 (default), fp16, bf16 or int8, as the runtime can")
    parser.add_argument("--accelerator", default="cpu", help="cpu (default) or cuda, for torch and torch-compile")
    parser.add_argument(
        "--option", action="append", type=option, default=[], metavar="NAME=VALUE",
        help="the runtime's own, such as optimise=false for onnxruntime; repeatable",
    )  # fmt: skip


def option(text: str) -> tuple[str, Any]:
    """A runtime's option from NAME=VALUE; a value that is not JSON is text."""
    import json

    name, separator, value = text.partition("=")
    if not (separator and name.strip()):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not NAME=VALUE; for example optimise=false")
    try:
        content = json.loads(value)
        json.dumps(content, allow_nan=False)
        return name, content
    except (ValueError, RecursionError):  # no JSON, or a number that JSON does not know
        return name, value


def settings_of(options: argparse.Namespace) -> Settings:
    from nasbench.latency.device import Settings

    return Settings(
        options.runtime, options.threads, options.batch, options.dtype, options.accelerator, dict(options.option)
    )


def progress_of(verb: str, options: argparse.Namespace) -> Any:
    def show(done: int, total: int) -> None:
        print(f"{verb} {done} of up to {total} networks", file=sys.stderr)

    return None if options.json else show


def print_summary(name: str, options: argparse.Namespace) -> None:
    from nasbench.latency.tables import profile_summary

    summary = profile_summary(name)
    print_json(summary) if options.json else print_facts(summary)
