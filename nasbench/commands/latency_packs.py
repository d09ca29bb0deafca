"""`nasbench latency pack | import`: networks to measure on another device, and the results from there."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.commands.common import Parser, add_verb, print_json
from nasbench.commands.latency_options import (
    add_accept_noise,
    add_networks,
    print_summary,
    progress_of,
    settings_of,
)

if TYPE_CHECKING:
    from nasbench.arch.architecture import Architecture
    from nasbench.latency.device import Settings


def add_pack(group: Any) -> Parser:
    pack = add_verb(
        group, "pack", "write a folder of networks to measure on a device that is not this machine",
        "nasbench latency pack pixel-6 --count 20\nnasbench latency pack pixel-6 --study results/phone", _pack, True,
    )  # fmt: skip
    pack.add_argument("name", metavar="DEVICE", help="name that its profile will have")
    add_networks(pack, count=20, flag="--count")
    pack.add_argument(
        "--study", metavar="DIR",
        help="pack what matters to this study for DEVICE: on and near its front and its budget in ms, with the "
        "settings of DEVICE's profile",
    )  # fmt: skip
    pack.add_argument("--out", type=Path, help="folder to write (default: latency-pack-DEVICE, and the study's name)")
    return pack


def add_import(group: Any) -> None:
    taken = add_verb(
        group, "import", "read what a pack's script measured on a device, check it and fit a profile",
        "nasbench latency import results.json\nnasbench latency import results.json --add", _import, True,
    )  # fmt: skip
    taken.add_argument("file", type=Path, help="results.json, as the script wrote it")
    taken.add_argument("--device", default=None, help="name of the profile (default: as packed)")
    taken.add_argument(
        "--add", action="store_true", help="join the profile that the device has, instead of replacing it"
    )
    add_accept_noise(taken)


def _pack(options: argparse.Namespace) -> int:
    from nasbench.latency.pack import write_pack

    networks, settings, classes = _study_networks(options) if options.study else _covering_networks(options)
    study = f"-{Path(options.study).resolve().name}" if options.study else ""
    folder = options.out or Path(f"latency-pack-{options.name}{study}")
    write_pack(options.name, networks, folder, settings, classes, progress_of("wrote", options), joins=bool(study))
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
    return networks, settings_of(options), options.classes


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
    print_summary(profile.name, options)
    return 0
