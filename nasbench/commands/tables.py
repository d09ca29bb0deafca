"""`nasbench table collect | show | suggest | add | export`: the table of trained designs."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.commands.common import (
    add_data,
    add_group,
    add_priority,
    add_recipe,
    add_runner,
    add_verb,
    positive,
    print_facts,
    print_json,
    print_table,
    seconds,
    settle_this_process,
    whole,
    write_architectures,
)

if TYPE_CHECKING:
    from nasbench.table.suggesting import Suggestion
    from nasbench.table.table import Table

COLLECT_EXAMPLE = """nasbench table collect --time-limit 2h
nasbench table collect --rung 0 --designs 60 --seeds 3
nasbench table collect --rung long --designs 20 --out results/table-metablock
nasbench table collect --architectures mine/*.toml --seeds 3
nasbench table collect --space mine.toml --budget 500MFLOP --data photos/ --out results/table-mine"""
BESIDE = 3  # published networks that are shown beside suggested designs
NAME_HELP = "a table's name, its file, or the folder of a collection or a study"


def add(verbs: Any) -> None:
    group = add_group(verbs, "table", "designs trained once, used often: collect, show, suggest, add, export")
    _add_collect(group)
    show = add_verb(
        group, "show", "print what a table holds: counts and seed noise by rung, best designs, how its rungs agree",
        "nasbench table show metablock\nnasbench table show results/table-metablock --rung 1 --json", _show, True,
    )  # fmt: skip
    show.add_argument("name", nargs="?", default="metablock", help=f"{NAME_HELP} (default: metablock)")
    show.add_argument("--rung", help="whose best designs are shown: a number, or -1 for long (default: the first)")
    _add_suggest(group)
    put = add_verb(
        group, "add", "put what finished studies have trained into a table of your own",
        "nasbench table add results/mine results/photos\nnasbench table add results/mine --table mine.csv.gz", _add,
        True,
    )  # fmt: skip
    put.add_argument("studies", nargs="+", metavar="STUDY", help="folders of searches or collections")
    put.add_argument(
        "--table", metavar="NAME", help="a name in the cache, or a .csv.gz file (default: the space's own name)"
    )
    export = add_verb(
        group, "export", "write a table as CSV for another program", "nasbench table export metablock.csv", _export
    )
    export.add_argument("output", metavar="FILE", help="a .csv or .csv.gz file")
    export.add_argument("--table", default="metablock", metavar="NAME", help=f"{NAME_HELP} (default: metablock)")


def _add_collect(group: Any) -> None:
    collect = add_verb(
        group, "collect", "train designs of a space and keep what comes of each", COLLECT_EXAMPLE, _collect, True
    )
    add = collect.add_argument
    add("--space", default="metablock", help="a shipped search space or a TOML file (default: metablock)")
    add("--budget", default="2GFLOP", metavar="BUDGET", help="what a design may cost, with its unit (default: 2GFLOP)")
    add(
        "--designs", type=whole, metavar="N",
        help="how many designs the folder shall hold beside the published members of the space (default: 250)",
    )  # fmt: skip
    add(
        "--rung",
        help="only this rung of the runner's ladder: its number from 0 or its name; -1 or long: ten times the last "
        "one's samples (default: the whole plan)",
    )
    add("--seeds", type=positive, metavar="K", help="trainings of each that is repeated (default: 3; of one rung: 1)")
    add(
        "--around", type=positive, metavar="N",
        help="instead: how many designs the folder shall hold that a surrogate picks, latency band by latency band",
    )  # fmt: skip
    add(
        "--architectures", nargs="+", metavar="ARCH", default=(),
        help="instead: these designs of the space, by name or file, at the first rung or that of --rung; all --seeds "
        "of one before the next",
    )  # fmt: skip
    add_data(collect)
    add(
        "--split", choices=("validation", "test"), default="validation",
        help="the images that are scored (default: validation, so that searches can confirm on test images)",
    )  # fmt: skip
    add_recipe(collect, "ladder")
    add_runner(collect)
    add("--device", default="this-machine", help="profile whose latency bands --around uses (default: this-machine)")
    add("--seed", type=whole, default=0, help="seed of the designs that are drawn (default: 0)")
    add("--out", metavar="DIR", help="where rows go (default: results/table-SPACE); what is there goes on")
    add("--time-limit", type=seconds, metavar="TIME", help="stop starting trainings after this long, such as 2h")
    add_priority(collect)


def _add_suggest(group: Any) -> None:
    suggest = add_verb(
        group, "suggest", "designs that a table expects most of within budgets, in a minute and without training",
        "nasbench table suggest --budget 1GFLOP --budget 8ms\nnasbench table suggest --designs 10 -o suggested",
        _suggest, True,
    )  # fmt: skip
    add = suggest.add_argument
    add("--space", default="metablock", help="a shipped search space or a TOML file (default: metablock)")
    add("--table", metavar="NAME", help=f"{NAME_HELP} (default: the space's own)")
    add(
        "--budget", action="append", metavar="BUDGET",
        help="what a design may cost, with its unit, such as 10ms; may be repeated (default: 1GFLOP)",
    )  # fmt: skip
    add("--designs", type=positive, default=5, metavar="N", help="how many, of different blocks (default: 5)")
    add("--device", default="this-machine", help="profile that predicts latencies (default: this-machine)")
    add("--seed", type=whole, default=0, help="seed of the evolution (default: 0)")
    add("-o", "--out", metavar="DIR", help="write their TOML files into DIR")


def _suggest(options: argparse.Namespace) -> int:
    from nasbench.progress import progress_display
    from nasbench.table.suggesting import BUDGETS, suggest

    with progress_display(quiet=options.json) as progress:
        found = suggest(
            options.budget or BUDGETS,
            options.designs,
            space=options.space,
            table=options.table,
            device=options.device,
            seed=options.seed,
            progress=progress,
        )
    if options.out:
        write_architectures([each.arch for each in found.designs], Path(options.out))
    if options.json:
        kinds = {"designs": found.designs, "published": found.published}
        told = {kind: [_record(each) for each in those] for kind, those in kinds.items()}
        print_json({"table": found.table, "expected_at": found.when, "evaluated": found.evaluated, **told})
        return 0
    networks = found.published[:BESIDE]
    lines = [*(_line(each, False) for each in found.designs), *(_line(each, True) for each in networks)]
    print_table(lines, title=f"Expected by table {found.table} at {found.when}")
    print(f"Nothing was trained: of {found.evaluated:,} designs that the table guessed, the best are guessed too high.")
    if options.out:
        files = f"{shlex.quote(options.out)}/*.toml"
        print(f"What they reach: nasbench table collect --architectures {files} --rung long")
    return 0


def _record(one: Suggestion) -> dict[str, Any]:
    from nasbench.costs.analytic import cost

    costs = cost(one.arch)
    figures = {"macs": costs.macs, "params": costs.params, **(one.predicted.to_dict() if one.predicted else {})}
    told = {"accuracy_expected": one.accuracy, "accuracy_expected_std": one.std}
    return {"id": one.arch.id, "name": one.arch.name, **told, **figures, "architecture": one.arch.to_dict()}


def _line(one: Suggestion, published: bool) -> dict[str, Any]:
    from nasbench.costs.analytic import cost
    from nasbench.drawing.stages import stages_in_short

    costs = cost(one.arch)
    line = {
        "design": one.arch.label if published else one.arch.id[:8],
        "accuracy % expected": f"{100 * one.accuracy:.1f} ± {100 * one.std:.1f}",
    }
    if one.predicted is not None:
        latency = one.predicted.latency
        line["ms predicted [90 %]"] = f"{latency.value:.3g} [{latency.low:.3g}, {latency.high:.3g}]"
    sizes = {"MACs M": f"{costs.macs / 1e6:,.0f}", "params M": f"{costs.params / 1e6:.2f}"}
    return {**line, **sizes, "stages": stages_in_short(one.arch)}


def _collect(options: argparse.Namespace) -> int:
    from nasbench.progress import progress_display
    from nasbench.study.runner import load_runner
    from nasbench.table.start import collect

    settle_this_process(load_runner(options.runner, options.priority))
    with progress_display(quiet=options.json) as progress:
        table = collect(
            options.space,
            options.budget,
            options.designs,
            rung=options.rung,
            seeds=options.seeds,
            around=options.around or 0,
            architectures=options.architectures,
            data=options.data,
            split=options.split,
            recipe=options.recipe,
            runner=options.runner,
            out=options.out,
            time_limit=options.time_limit,
            device=options.device,
            seed=options.seed,
            priority=options.priority,
            progress=progress,
        )
    _print(table, table.rungs[0] if table.rungs else 0, options.json)
    if not options.json:
        print(f"\nAll of it: {table.source} (table.csv.gz, trials.jsonl)")
    return 0


def _show(options: argparse.Namespace) -> int:
    from nasbench.errors import UserError
    from nasbench.table.loading import load_table
    from nasbench.table.summary import rung_label

    table = load_table(options.name)
    rungs = {rung_label(rung): rung for rung in table.rungs} | {str(rung): rung for rung in table.rungs}
    if options.rung is not None and options.rung not in rungs:
        raise UserError(f"--rung {options.rung}: {table.source} has rows of {', '.join(rungs) or 'no rung'}; name one")
    _print(table, next(iter(rungs.values()), 0) if options.rung is None else rungs[options.rung], options.json)
    return 0


def _print(table: Table, rung: int, as_json: bool) -> None:
    from nasbench.table.summary import rung_label, summary

    found = summary(table, rung)
    if as_json:
        print_json(found)
        return
    print_table(
        found["rungs"], title=f"{table.source}: {found['trainings']:,} trainings of {found['designs']:,} designs"
    )
    if found["agreement"]:
        print_table(found["agreement"], title="how rungs agree: tau, 90 % interval")
    if found["best"]:
        print_table(found["best"], title=f"best designs at rung {rung_label(rung)}, by cost of the deploy form")
        print("The best of many single trainings owes part of its accuracy to its seed.")
    if found["compared"] < found["trainings"]:
        print(f"Compared are the {found['compared']:,} trainings that share split, images and numerics.")
    if found["stale"]:
        print(f"{found['stale']:,} trainings are of designs that are reduced otherwise today; they do not count.")
    facts = found["provenance"].items()
    print_facts({name: ", ".join(f"{value} ({count:,})" for value, count in counts.items()) for name, counts in facts})


def _add(options: argparse.Namespace) -> int:
    from nasbench.table.loading import add

    found = add(options.studies, options.table)
    if options.json:
        print_json({"table": str(found.path), "rows": found.rows, "new": found.new, "left_out": dict(found.left_out)})
        return 0
    print(f"{found.path}: {found.new:,} new trainings, {found.rows:,} in all")
    for reason, count in found.left_out.most_common():
        print(f"left out: {count:,} ({reason})")
    return 0


def _export(options: argparse.Namespace) -> int:
    from nasbench.table.file import write_rows
    from nasbench.table.loading import load_table

    table = load_table(options.table)
    write_rows(Path(options.output), table.content)
    print(f"{options.output}: {len(table):,} trainings of {len(table.ids):,} designs")
    return 0
