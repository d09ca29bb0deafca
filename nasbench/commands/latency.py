"""`nasbench latency ...`: the time, memory and energy that networks take on a device, measured and predicted."""

from __future__ import annotations

import argparse
from typing import Any

from nasbench.commands.common import Parser, add_classes, add_group, add_verb, print_json, print_table, seconds
from nasbench.commands.latency_options import (
    add_accept_noise,
    add_networks,
    add_settings,
    print_summary,
    progress_of,
    settings_of,
)
from nasbench.commands.latency_packs import add_import, add_pack
from nasbench.latency.names import THIS_MACHINE

SHOWN_MEASURED = (
    "name",
    "source",
    "latency_ms",
    "spread",
    "cpu_min_ms",
    "wall_min_ms",
    "memory_mb",
    "energy_mj",
    "noisy",
)
SHOWN_PREDICTED = (
    "name", "source", "latency_ms", "low_ms", "high_ms", "memory_mb", "memory_high_mb", "energy_mj", "energy_high_mj",
    "extrapolating", "reason", "memory_reason", "energy_reason",
)  # fmt: skip


def add(verbs: Any) -> None:
    group = add_group(
        verbs, "latency", "how fast networks run: devices, show, fit, measure, predict, compare, pack, import"
    )
    add_verb(group, "devices", "the device profiles in the cache", "nasbench latency devices", _devices, True)
    show = add_verb(
        group, "show", "what a profile was fitted to, and how well it predicts", "nasbench latency show", _show, True
    )
    fit = _add_fit(group)
    measure = add_verb(
        group, "measure", "measure networks on this machine",
        "nasbench latency measure emo_1m fastvit_t8", _measure, True,
    )  # fmt: skip
    predict = add_verb(
        group, "predict", "predict networks from a profile",
        "nasbench latency predict emo_1m fastvit_t8", _predict, True,
    )  # fmt: skip
    for parser in (measure, predict):
        parser.add_argument("architectures", nargs="+", metavar="ARCH", help="shipped names or TOML files")
    _add_compare(group)
    pack = add_pack(group)
    add_import(group)
    for parser in (fit, measure, predict, pack):
        add_classes(parser)
    for parser in (show, fit, measure, predict):
        parser.add_argument("--device", default=THIS_MACHINE, help=f"name of the profile (default: {THIS_MACHINE})")
    for parser in (fit, measure, pack):
        add_settings(parser)


def _add_fit(group: Any) -> Parser:
    fit = add_verb(
        group, "fit", "measure about 40 networks on this machine and fit a predictor",
        "nasbench latency fit\nnasbench latency fit --device openvino-here --runtime openvino --networks 12",
        _fit, True,
    )  # fmt: skip
    add_networks(fit, count=40)
    fit.add_argument(
        "--time-limit", type=seconds, default=65.0, metavar="TIME", help="stop after this long (default: 65s)"
    )
    fit.add_argument("--memory", action="store_true", help="measure each network's peak memory too")
    fit.add_argument(
        "--energy", action="store_true", help="measure each network's energy too, where this machine tells"
    )
    add_accept_noise(fit)
    return fit


def _add_compare(group: Any) -> None:
    compare = add_verb(
        group, "compare", "the same networks on two devices, and which of them one favours",
        "nasbench latency compare this-machine here-openvino", _compare, True,
    )  # fmt: skip
    compare.add_argument("first", help="name of a profile, or its file")
    compare.add_argument("second", help="name of another")
    compare.add_argument("architectures", nargs="*", metavar="ARCH", help="default: all that either has measured")


def _devices(options: argparse.Namespace) -> int:
    from nasbench.latency.tables import devices_table

    rows = devices_table()
    if options.json:
        print_json(rows)
    elif rows:
        print_table(rows, columns=dict.fromkeys(key for row in rows for key in row if key not in ("path", "runtime")))
    else:
        print("no profile yet; `nasbench latency fit` measures this machine in about a minute")
    return 0


def _show(options: argparse.Namespace) -> int:
    print_summary(options.device, options)
    return 0


def _fit(options: argparse.Namespace) -> int:
    import numpy as np

    from nasbench.arch.library import fixed_points
    from nasbench.latency.calibrate import fit_profile
    from nasbench.latency.selection import calibration_set
    from nasbench.space.shipped import load_space

    fixed, rng = fixed_points().values(), np.random.default_rng(options.seed)
    networks = calibration_set(load_space(options.space), options.count, rng, fixed, num_classes=options.classes)
    fit_profile(
        networks, options.device, options.time_limit, progress_of("measured", options), options.classes,
        settings=settings_of(options), memory=options.memory, energy=options.energy,
        accept_noise=options.accept_noise,
    )  # fmt: skip
    print_summary(options.device, options)
    return 0


def _measure(options: argparse.Namespace) -> int:
    from nasbench.arch.library import load
    from nasbench.latency.names import known_devices
    from nasbench.latency.profile import load_device
    from nasbench.latency.tables import measurement_table

    # With a profile the milliseconds are comparable with its predictions; without one they stand alone.
    settings = settings_of(options)
    needed = options.device != THIS_MACHINE or THIS_MACHINE in known_devices()
    profile = load_device(options.device) if needed else None
    if profile is not None and profile.settings != settings:
        profile = None
    rows = measurement_table([load(name) for name in options.architectures], profile, options.classes, settings)
    print_json(rows) if options.json else print_table(rows, columns=_held(SHOWN_MEASURED, rows))
    return 0


def _predict(options: argparse.Namespace) -> int:
    from nasbench.arch.library import load
    from nasbench.latency.profile import load_device
    from nasbench.latency.tables import prediction_table

    rows = prediction_table(
        [load(name) for name in options.architectures], load_device(options.device), options.classes
    )
    print_json(rows) if options.json else print_table(rows, columns=_held(SHOWN_PREDICTED, rows))
    return 0


def _held(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> list[str]:
    """Those of `columns` that say something: not every device tells memory or energy."""
    return [column for column in columns if any(row.get(column) not in (None, "") for row in rows)]


def _compare(options: argparse.Namespace) -> int:
    from scipy.stats import spearmanr

    from nasbench.arch.architecture import Architecture
    from nasbench.arch.library import load
    from nasbench.latency.profile import load_device
    from nasbench.latency.tables import comparison, names_apart

    first, second = load_device(options.first), load_device(options.second)
    chosen: list[Architecture] = [load(name) for name in options.architectures]
    if not chosen:
        found = {r.id: Architecture.from_dict(r.architecture, source=r.id) for p in (first, second) for r in p.records}
        chosen = list(found.values())
    rows = sorted(comparison(first, second, chosen), key=lambda row: row["against_median"])
    if options.json:
        print_json(rows)
        return 0
    print_table(rows, columns=[name for name in rows[0] if name != "id"])
    if len(rows) > 2:
        one, other = names_apart(first, second)
        rank = spearmanr([r[f"{one}_ms"] for r in rows], [r[f"{other}_ms"] for r in rows]).statistic
        print(f"rank correlation {rank:.3f} over {len(rows)} networks; {other} favours those that come first")
    return 0
