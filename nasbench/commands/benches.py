"""`nasbench bench run | show`: strategies replayed offline on networks that are trained already."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from nasbench.commands.common import add_group, add_verb, positive, print_json, print_table, whole
from nasbench.errors import visible

if TYPE_CHECKING:
    from nasbench.bench.start import Result

RUN_EXAMPLE = """nasbench bench run random evolution model --on nas_bench_macro.json
nasbench bench run evolution evolution,population=50,tournament=10 --on nas_bench_macro.json --noise
nasbench bench run random model --on accel_nasbench.csv.gz --objectives=-val_top1,latency_zcu102 --seeds 30
nasbench bench run random model --on mine.csv --fields 'layer*' --objectives=-accuracy,latency
nasbench bench run random evolution model --on metablock --objectives 2 --evaluations 60 --seeds 10"""
ON_HELP = "a table of ours by name (its surrogate is searched), or a .csv, .csv.gz, .json file, or a .toml about one"

NOW_HELP = "where the table lies now (default: where it lay)"


def add(verbs: Any) -> None:
    group = add_group(verbs, "bench", "compare strategies offline, on trained networks: run, show, add")
    _add_run(group)
    show = add_verb(
        group, "show", "compare the runs of a folder: medians, evaluations to the best, which differences are decided",
        "nasbench bench show results/bench/nas_bench_macro-1", _show, True,
    )  # fmt: skip
    show.add_argument("folder", metavar="DIR", help="a folder that `nasbench bench run` has made")
    show.add_argument("--on", metavar="TABLE", help=NOW_HELP)
    bring = add_verb(
        group, "add", "bring runs made elsewhere into a folder, their losses looked up anew, and compare them",
        "nasbench bench add results/bench/nas_bench_macro-1 pymoo.jsonl", _bring, True,
    )  # fmt: skip
    bring.add_argument("folder", metavar="DIR", help="a folder that `nasbench bench run` has made")
    bring.add_argument("files", nargs="+", metavar="FILE", help="runs, one JSON object a line: see docs/bench.md")
    bring.add_argument("--on", metavar="TABLE", help=NOW_HELP)


def _add_run(group: Any) -> None:
    run = add_verb(group, "run", "replay strategies on a table, once a seed, and compare them", RUN_EXAMPLE, _run, True)
    add = run.add_argument
    add("strategies", nargs="+", metavar="STRATEGY", help="a strategy's name; with settings NAME,KEY=VALUE,KEY=VALUE")
    add("--on", required=True, metavar="TABLE", help=ON_HELP)
    add("--seeds", type=positive, default=100, metavar="K", help="runs of each strategy (default: 100)")
    add("--first-seed", type=whole, default=0, metavar="N", help="the first of the seeds (default: 0)")
    add("--evaluations", type=positive, default=200, metavar="N", help="designs that each run asks for (default: 200)")
    add(
        "--objectives", type=names, default=("1",), metavar="NAME,NAME",
        help="1 or 2 (the first of the table's), or names, a leading minus where more is better: "
        "--objectives=-accuracy,latency (default: 1)",
    )  # fmt: skip
    add("--fields", type=names, default=(), metavar="NAME,NAME", help="columns or patterns that tell designs apart")
    add(
        "--noise", action="store_true",
        help="each evaluation is one training of several; what a strategy recommends is scored by their mean",
    )  # fmt: skip
    add("--workers", type=positive, metavar="N", help="processes (default: one a core)")
    add("--out", metavar="DIR", help="where runs go (default: results/bench/TABLE-OBJECTIVES); what is there goes on")


def names(text: str) -> tuple[str, ...]:
    """An argparse type: names between commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _run(options: argparse.Namespace) -> int:
    from nasbench.bench.reading import Source
    from nasbench.bench.replay import Setting
    from nasbench.bench.start import bench
    from nasbench.progress import progress_display

    seeds = range(options.first_seed, options.first_seed + options.seeds)
    source = Source(options.on, options.objectives, options.fields)
    with progress_display(quiet=options.json) as progress:
        result = bench(
            options.strategies,
            source,
            seeds,
            Setting(options.evaluations, options.noise),
            out=options.out,
            workers=options.workers,
            progress=progress,
        )
    _print(result, options.json)
    return 0


def _show(options: argparse.Namespace) -> int:
    from nasbench.bench.start import show

    _print(show(options.folder, options.on), options.json)
    return 0


def _bring(options: argparse.Namespace) -> int:
    from nasbench.bench.bringing import add_runs
    from nasbench.bench.start import show

    new = add_runs(options.folder, options.files, options.on)
    if not options.json:
        print(f"{new} runs are new in {options.folder}")
    _print(show(options.folder, options.on), options.json)
    return 0


def _print(result: Result, as_json: bool) -> None:
    if as_json:
        print_json(result.to_dict())
        return
    bench = result.bench
    print(visible(f"{bench.problem}: {', '.join(bench.objectives)}; {'; '.join(result.facts)}"))
    told = "median regret" if result.curves.is_regret else "median share of the whole hypervolume"
    chosen = " of what is recommended" if bench.noise and result.curves.is_regret else ""
    print_table(result.summary(), title=f"{told}{chosen} after so many evaluations")
    lines = [
        {
            "measure": pair.measure, "better": pair.better, "worse": pair.worse, "seeds": pair.seeds,
            "median difference": pair.difference, "p (Holm)": None if pair.p != pair.p else pair.p,
            "decided": pair.is_decided,
        }
        for pair in result.comparisons
    ]  # fmt: skip
    if lines:
        print_table(lines, title="paired by seed: Wilcoxon's signed-rank test with Holm's correction")
    print(f"All of it: {result.folder} (runs.jsonl, curves.png, curves.svg, curves.csv, summary.csv, comparisons.csv)")
