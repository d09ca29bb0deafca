"""`nasbench search | resume | front | report`: run a study, and read one that is stored."""

from __future__ import annotations

import argparse
import shlex
import sys
import webbrowser
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.commands import live_page
from nasbench.commands.common import (
    add_classes,
    add_priority,
    add_runner,
    add_verb,
    console,
    positive,
    print_json,
    seconds,
    whole,
    writable_file,
)
from nasbench.errors import UserError, shown

if TYPE_CHECKING:
    from nasbench.report.results import StudyResult

# What a report leaves in a study's folder for people.
WRITTEN = ("report.html", "front.csv", "front.png", "front.svg", "front.pdf", "designs")
MOST_STUDIES = 12  # on one page
STRATEGY_HELP = (
    "warm (starts from a table of trained designs; default where one fits space and images), evolution (default "
    "elsewhere), regularised (aging evolution), nsga2, "
    "local (search from the front), model (Bayesian optimisation), random, a sampler of Optuna's (optuna:tpe, nsga2, "
    "nsga3, gp, auto, random), or mine.py:propose, a function of your own; docs/strategies.md says which is for what"
)
SEARCH_EXAMPLE = """nasbench search --budget 1GFLOP
nasbench search --budget 500MFLOP --budget 10ms --data photos/ --trials 64 --out results/photos"""


def add(verbs: Any) -> None:
    _add_search(verbs)
    resume = add_verb(
        verbs, "resume", "go on with a search that was stopped or killed", "nasbench resume results/mine", _resume, True
    )
    resume.add_argument("folder", help="the study's folder")
    resume.add_argument("--data", metavar="DIR", help="where the study's images lie now, if they were moved")
    resume.add_argument(
        "--strategy", metavar="FILE.py:FUNCTION", help="your own strategy, taken anew from its file after a correction"
    )
    resume.add_argument("--time-limit", type=seconds, metavar="TIME", help="end after this long, the levels cut to fit")
    resume.add_argument(
        "--finals", type=positive, metavar="N",
        help="so many more final trainings than it was to have, where the race between the finalists is not decided",
    )  # fmt: skip
    add_priority(resume)
    front = add_verb(
        verbs, "front", "print the front of a stored study", "nasbench front results/reference --json", _front, True
    )
    front.add_argument("folder", help="the study's folder")
    report = add_verb(
        verbs, "report", "write a stored study's page, front.csv, designs/ and plots anew; of several, one page",
        "nasbench report results/mine --open\nnasbench report results/first results/second -o both.html\n"
        "nasbench report --watch results/mine", _report,
    )  # fmt: skip
    report.add_argument("folders", nargs="+", metavar="STUDY", help="the studies' folders")
    report.add_argument(
        "-o", "--output", metavar="FILE.html",
        help="where to write the page (default: report.html in the study's folder; comparison.html here of several)",
    )  # fmt: skip
    report.add_argument("--open", action="store_true", help="open the page in the browser")
    live_page.add_options(report)


def _add_search(verbs: Any) -> None:
    search = add_verb(verbs, "search", "search a Pareto front within budgets", SEARCH_EXAMPLE, _search, True)
    add = search.add_argument
    add("--space", default="metablock", help="a shipped search space or a TOML file (default: metablock)")
    add(
        "--budget", action="append", metavar="BUDGET",
        help="an upper bound with its unit: 1GFLOP, 5Mparams, 2MB, 10ms, 64MBmem, 5mJ; repeatable (default: 1GFLOP)",
    )  # fmt: skip
    add(
        "--data", default="fashion-on-earth",
        help="fashion-on-earth (shipped; default), cifar10, or a folder of images in class sub-folders (masked: any)",
    )  # fmt: skip
    add(
        "--objective", default="supervised",
        help="supervised: accuracy (the default); masked: how well hidden parts of images are painted, no labels read; "
        "predicted@4GFLOP: the error that designs should have when scaled there",
    )  # fmt: skip
    add("--trials", type=positive, metavar="N", help="architectures to train (default: what the runner's file says)")
    add("--out", metavar="DIR", help="the study's folder (default: a new one in results/)")
    add_runner(search)
    add("--address", help="address of a running Ray cluster, such as ray://head:10001")
    add("--strategy", metavar="NAME", help=STRATEGY_HELP)
    add(
        "--strategy-option", action="append", type=_option, metavar="KEY=VALUE",
        help="a setting of the strategy, such as population=30; repeatable",
    )  # fmt: skip
    add(
        "--promotion", choices=("rungs", "asynchronous"),
        help="when designs go on to longer training: rungs, once all of a rung have ended; asynchronous, meanwhile, so "
        "that no worker waits for the last of a rung (default: what the runner's file says)",
    )  # fmt: skip
    add("--seed", type=whole, default=0, help="seed of everything that is drawn (default: 0)")
    add_classes(search, "classes that budgets count with")
    add(
        "--device",
        default="this-machine",
        help="profile that predicts time, memory, energy (default: this-machine)",
    )
    add(
        "--time-limit",
        type=seconds,
        metavar="TIME",
        help="end with a verdict after this long, such as 15min: trials and seeds are cut to fit",
    )
    add_priority(search)


def _option(text: str) -> tuple[str, object]:
    """An argparse type: `population=30` -> ("population", 30); what is no TOML value is text."""
    from nasbench.files import parse_toml

    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not KEY=VALUE; write for example population=30")
    try:
        return key, parse_toml(f"value = {value}", "")["value"]
    except UserError:
        return key, value


def _options(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """The settings by key."""
    for key, count in Counter(key for key, _ in pairs).items():
        if count > 1 or key in ("name", "text"):
            what = "given twice; give each setting once" if count > 1 else "no setting; name the strategy by --strategy"
            raise UserError(f"--strategy-option {key}: {what}")
    return dict(pairs)


def _search(options: argparse.Namespace) -> int:
    from nasbench.engine.start import search
    from nasbench.progress import progress_display

    with progress_display(quiet=options.json) as progress:
        result = search(
            space=options.space,
            budgets=options.budget or ["1GFLOP"],
            data=options.data,
            objective=options.objective,
            trials=options.trials,
            out=options.out,
            runner=options.runner,
            strategy=options.strategy,
            seed=options.seed,
            classes=options.classes,
            device=options.device,
            address=options.address,
            time_limit=options.time_limit,
            progress=progress,
            priority=options.priority,
            strategy_options=_options(options.strategy_option or ()),
            promotion=options.promotion,
        )
    return _show(result, options.json)


def _resume(options: argparse.Namespace) -> int:
    from nasbench.engine.start import resume
    from nasbench.progress import progress_display

    with progress_display(quiet=options.json) as progress:
        result = resume(
            options.folder,
            options.time_limit,
            progress,
            options.data,
            options.priority,
            options.strategy,
            options.finals,
        )
    return _show(result, options.json)


def _front(options: argparse.Namespace) -> int:
    from nasbench.report.results import open_study

    return _show(open_study(options.folder), options.json)


def _report(options: argparse.Namespace) -> int:
    from nasbench.page.render import write_page
    from nasbench.report.results import open_study

    _check_studies(options.folders)
    if options.watch:
        return live_page.watch(options.folders, options.port, options.open, options.output)
    results = [open_study(folder) for folder in options.folders]
    page = _page_of(results, options.output)
    for result in results:
        result.report()
    write_page(page, results)
    for result in results:
        _show(result, as_json=False)
    print(f"The page: {page}")
    if options.open and not webbrowser.open(page.resolve().as_uri()):
        print(f"no browser was found; open {page} in one", file=sys.stderr)
    return 0


def _check_studies(folders: Sequence[str]) -> None:
    if len(folders) > MOST_STUDIES:
        raise UserError(f"{len(folders)} studies: one page holds at most {MOST_STUDIES}; give fewer")
    seen: set[Path] = set()
    for folder in folders:
        if (path := Path(folder).resolve()) in seen:
            raise UserError(f"{folder}: given twice; give each study once")
        seen.add(path)


def _page_of(results: Sequence[StudyResult], output: str | None) -> Path:
    """Where the page goes."""
    if output is None:
        return results[0].folder / "report.html" if len(results) == 1 else Path("comparison.html")
    page = writable_file(output, "report.html")
    if page.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{page}: the page is HTML; give it a name that ends in .html")
    return page


def _show(result: StudyResult, as_json: bool) -> int:
    """The closing table and what it means; or the same figures as JSON."""
    from nasbench.auditing.confirmation import Confirmation, can_be_confirmed
    from nasbench.engine.worth_measuring import advice
    from nasbench.report.designs import what_next
    from nasbench.report.tables import closing_text, front_table, memory_text, records
    from nasbench.report.wording import after_long_training
    from nasbench.scaling.crossing import standing_at_target

    rows = result.rows()
    confirmed = Confirmation.read(result).verdict()
    in_the_end = confirmed or list(after_long_training(rows).values())[:1]
    conclusion = closing_text(rows) + in_the_end + advice(result) + result.standing_lines()
    if as_json:
        print_json({"folder": str(result.folder), "networks": records(rows), "conclusion": conclusion})
        return 0
    out = console()
    out.print(front_table(rows))
    for line in conclusion:
        out.print(line)
    for line in memory_text(result.trials, result.study.runner.memory_gib_per_trial):
        out.print(line)
    for line in standing_at_target(result.study.extrapolated_to, result.trials):
        out.print(line)
    written = ", ".join(name for name in WRITTEN if (result.folder / name).exists())
    out.print(f"\nAll of it: {result.folder} ({written})")
    ways = what_next(result.study, result.folder, rows)
    if not confirmed and can_be_confirmed(result):
        ways = [f"Does it lead after ten times the training? nasbench confirm {shlex.quote(str(result.folder))}", *ways]
    for line in ways:
        out.print(line, soft_wrap=True)  # so that it can be copied
    return 0
