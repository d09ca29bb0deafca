"""`nasbench latency devices | show | fit | measure | predict`: how fast networks run on a device."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from nasbench.commands.common import add_group, add_verb, positive, print_facts, print_json, print_table, seconds

THIS_MACHINE = "this-machine"


def add(verbs: Any) -> None:
    group = add_group(verbs, "latency", "how fast networks run: devices, show, fit, measure, predict")
    add_verb(group, "devices", "the device profiles in the cache", "nasbench latency devices", _devices, True)
    show = add_verb(
        group, "show", "what a profile was fitted to, and how well it predicts", "nasbench latency show", _show, True
    )
    fit = add_verb(
        group,
        "fit",
        "measure about 40 networks on this machine and fit a predictor",
        "nasbench latency fit",
        _fit,
        True,
    )
    fit.add_argument("--space", default="metablock", help="where the measured networks come from (default: metablock)")
    fit.add_argument("--networks", type=positive, default=40, metavar="N", help="how many (default: 40)")
    fit.add_argument(
        "--time-limit", type=seconds, default=75.0, metavar="TIME", help="stop after this long (default: 75s)"
    )
    fit.add_argument("--seed", type=int, default=0, help="seed of their choice (default: 0)")
    measure = add_verb(
        group, "measure", "measure networks on this machine",
        "nasbench latency measure emo_1m fastvit_t8", _measure, True,
    )  # fmt: skip
    predict = add_verb(
        group,
        "predict",
        "predict networks from a profile",
        "nasbench latency predict emo_1m fastvit_t8",
        _predict,
        True,
    )
    for parser in (measure, predict):
        parser.add_argument("architectures", nargs="+", metavar="ARCH", help="shipped names or TOML files")
    for parser in (fit, measure, predict):
        parser.add_argument("--classes", type=positive, default=1000, metavar="N", help="classes (default: 1000)")
    for parser in (show, fit, measure, predict):
        parser.add_argument("--device", default=THIS_MACHINE, help=f"name of the profile (default: {THIS_MACHINE})")


def _devices(options: argparse.Namespace) -> int:
    from nasbench.latency import devices_table

    rows = devices_table()
    if options.json:
        print_json(rows)
    elif rows:
        print_table(rows, columns=dict.fromkeys(key for row in rows for key in row if key != "path"))
    else:
        print("no profile yet; `nasbench latency fit` measures this machine in about a minute")
    return 0


def _show(options: argparse.Namespace) -> int:
    from nasbench.latency import profile_summary

    summary = profile_summary(options.device)
    print_json(summary) if options.json else print_facts(summary)
    return 0


def _fit(options: argparse.Namespace) -> int:
    import numpy as np

    from nasbench.latency import calibration_set, fit_profile, profile_summary
    from nasbench.library import fixed_points, load_space

    def progress(done: int, total: int) -> None:
        print(f"measured {done} of up to {total} networks", file=sys.stderr)

    fixed, rng = fixed_points().values(), np.random.default_rng(options.seed)
    networks = calibration_set(load_space(options.space), options.networks, rng, fixed, num_classes=options.classes)
    fit_profile(networks, options.device, options.time_limit, None if options.json else progress, options.classes)
    summary = profile_summary(options.device)
    print_json(summary) if options.json else print_facts(summary)
    return 0


def _measure(options: argparse.Namespace) -> int:
    from nasbench.latency import known_devices, load_device, measurement_table
    from nasbench.library import load

    # With a profile the milliseconds are comparable with its predictions; without one they stand alone.
    profile = load_device(options.device) if options.device in known_devices() else None
    rows = measurement_table([load(name) for name in options.architectures], profile, options.classes)
    print_json(rows) if options.json else print_table(rows)
    return 0


def _predict(options: argparse.Namespace) -> int:
    from nasbench.latency import load_device, prediction_table
    from nasbench.library import load

    rows = prediction_table(
        [load(name) for name in options.architectures], load_device(options.device), options.classes
    )
    print_json(rows) if options.json else print_table(rows)
    return 0
