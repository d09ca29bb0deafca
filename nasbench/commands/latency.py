"""`nasbench latency ...`: the time, memory and energy that networks take on a device, measured and predicted."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.commands.common import (
    Parser,
    add_classes,
    add_group,
    add_verb,
    print_facts,
    print_json,
    print_table,
    seconds,
    up_to,
    whole,
)
from nasbench.errors import shown
from nasbench.latency.names import THIS_MACHINE

if TYPE_CHECKING:
    from nasbench.arch.architecture import Architecture
    from nasbench.latency.device import Settings

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
    pack = _add_pack(group)
    _add_import(group)
    for parser in (fit, measure, predict, pack):
        add_classes(parser)
    for parser in (show, fit, measure, predict):
        parser.add_argument("--device", default=THIS_MACHINE, help=f"name of the profile (default: {THIS_MACHINE})")
    for parser in (fit, measure, pack):
        _add_settings(parser)


def _add_fit(group: Any) -> Parser:
    fit = add_verb(
        group, "fit", "measure about 40 networks on this machine and fit a predictor",
        "nasbench latency fit\nnasbench latency fit --device openvino-here --runtime openvino --networks 12",
        _fit, True,
    )  # fmt: skip
    _add_networks(fit, count=40)
    fit.add_argument(
        "--time-limit", type=seconds, default=65.0, metavar="TIME", help="stop after this long (default: 65s)"
    )
    fit.add_argument("--memory", action="store_true", help="measure each network's peak memory too")
    fit.add_argument(
        "--energy", action="store_true", help="measure each network's energy too, where this machine tells"
    )
    _add_accept_noise(fit)
    return fit


def _add_compare(group: Any) -> None:
    compare = add_verb(
        group, "compare", "the same networks on two devices, and which of them one favours",
        "nasbench latency compare this-machine here-openvino", _compare, True,
    )  # fmt: skip
    compare.add_argument("first", help="name of a profile, or its file")
    compare.add_argument("second", help="name of another")
    compare.add_argument("architectures", nargs="*", metavar="ARCH", help="default: all that either has measured")


def _add_pack(group: Any) -> Parser:
    pack = add_verb(
        group, "pack", "write a folder of networks to measure on a device that is not this machine",
        "nasbench latency pack pixel-6 --count 20\nnasbench latency pack pixel-6 --study results/phone", _pack, True,
    )  # fmt: skip
    pack.add_argument("name", metavar="DEVICE", help="name that its profile will have")
    _add_networks(pack, count=20, flag="--count")
    pack.add_argument(
        "--study", metavar="DIR",
        help="pack what matters to this study for DEVICE: on and near its front and its budget in ms, with the "
        "settings of DEVICE's profile",
    )  # fmt: skip
    pack.add_argument("--out", type=Path, help="folder to write (default: latency-pack-DEVICE, and the study's name)")
    return pack


def _add_import(group: Any) -> None:
    taken = add_verb(
        group, "import", "read what a pack's script measured on a device, check it and fit a profile",
        "nasbench latency import results.json\nnasbench latency import results.json --add", _import, True,
    )  # fmt: skip
    taken.add_argument("file", type=Path, help="results.json, as the script wrote it")
    taken.add_argument("--device", default=None, help="name of the profile (default: as packed)")
    taken.add_argument(
        "--add", action="store_true", help="join the profile that the device has, instead of replacing it"
    )
    _add_accept_noise(taken)


def _add_networks(parser: argparse.ArgumentParser, count: int, flag: str = "--networks") -> None:
    parser.add_argument(
        "--space", default="metablock", help="where the measured networks come from (default: metablock)"
    )
    parser.add_argument(
        flag, dest="count", type=up_to(10_000), default=count, metavar="N", help=f"how many (default: {count})"
    )
    parser.add_argument("--seed", type=whole, default=0, help="seed of their choice (default: 0)")


def _add_accept_noise(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--accept-noise", action="store_true", help="make a profile even where the passes disagree")


def _add_settings(parser: argparse.ArgumentParser) -> None:
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


def _settings(options: argparse.Namespace) -> Settings:
    from nasbench.latency.device import Settings

    return Settings(
        options.runtime, options.threads, options.batch, options.dtype, options.accelerator, dict(options.option)
    )


def _progress(verb: str, options: argparse.Namespace) -> Any:
    def show(done: int, total: int) -> None:
        print(f"{verb} {done} of up to {total} networks", file=sys.stderr)

    return None if options.json else show


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
    _print_summary(options.device, options)
    return 0


def _print_summary(name: str, options: argparse.Namespace) -> None:
    from nasbench.latency.tables import profile_summary

    summary = profile_summary(name)
    print_json(summary) if options.json else print_facts(summary)


def _fit(options: argparse.Namespace) -> int:
    import numpy as np

    from nasbench.arch.library import fixed_points
    from nasbench.latency.calibrate import fit_profile
    from nasbench.latency.selection import calibration_set
    from nasbench.space.shipped import load_space

    fixed, rng = fixed_points().values(), np.random.default_rng(options.seed)
    networks = calibration_set(load_space(options.space), options.count, rng, fixed, num_classes=options.classes)
    fit_profile(
        networks, options.device, options.time_limit, _progress("measured", options), options.classes,
        settings=_settings(options), memory=options.memory, energy=options.energy,
        accept_noise=options.accept_noise,
    )  # fmt: skip
    _print_summary(options.device, options)
    return 0


def _measure(options: argparse.Namespace) -> int:
    from nasbench.arch.library import load
    from nasbench.latency.names import known_devices
    from nasbench.latency.profile import load_device
    from nasbench.latency.tables import measurement_table

    # With a profile the milliseconds are comparable with its predictions; without one they stand alone.
    settings = _settings(options)
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


def _pack(options: argparse.Namespace) -> int:
    from nasbench.latency.pack import write_pack

    networks, settings, classes = _study_networks(options) if options.study else _covering_networks(options)
    study = f"-{Path(options.study).resolve().name}" if options.study else ""
    folder = options.out or Path(f"latency-pack-{options.name}{study}")
    write_pack(options.name, networks, folder, settings, classes, _progress("wrote", options), joins=bool(study))
    size = sum(path.stat().st_size for path in folder.iterdir())
    if options.json:
        print_json({"folder": str(folder), "networks": len(networks), "bytes": size})
    else:
        print(f"wrote {folder}: {len(networks)} networks, {size / 1e6:.0f} MB; {folder / 'README.txt'} says what to do")
    return 0


def _covering_networks(options: argparse.Namespace) -> tuple[list[Architecture], Settings, int]:
    import numpy as np

    from nasbench.arch.library import fixed_points
    from nasbench.latency.selection import covering_set
    from nasbench.space.shipped import load_space

    fixed, rng = fixed_points().values(), np.random.default_rng(options.seed)
    networks = covering_set(load_space(options.space), options.count, rng, fixed, options.classes)
    return networks, _settings(options), options.classes


def _study_networks(options: argparse.Namespace) -> tuple[list[Architecture], Settings, int]:
    from nasbench.engine.worth_measuring import designs_for_pack
    from nasbench.latency.profile import load_device
    from nasbench.report.results import StudyResult

    result, profile = StudyResult.read(options.study), load_device(options.name)
    designs = designs_for_pack(result, profile, options.count, options.seed)
    return designs, profile.settings, profile.num_classes


def _import(options: argparse.Namespace) -> int:
    from nasbench.latency.pack import add_results, read_results

    take = add_results if options.add else read_results
    profile = take(options.file, options.device, options.accept_noise)
    profile.save()
    _print_summary(profile.name, options)
    return 0
