"""`nasbench scale fit | compare | plan`: scaling laws of the error, and their extrapolations."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.commands.common import add_verb, hours, positive, print_json, print_table, up_to
from nasbench.errors import UserError, shown

if TYPE_CHECKING:
    from nasbench.scaling.family_laws import FamilyLaws
    from nasbench.scaling.intervals import LawFit
    from nasbench.scaling.plan import Plan
    from nasbench.scaling.quoted_families import Family


MOST_TIMES = 1e9
FAR = 30.0  # times the largest training: beyond that a prediction comes with a caution


def add(group: Any) -> None:
    """The verbs below `nasbench scale` that are about laws."""
    _add_fit(group)
    _add_compare(group)
    _add_plan(group)


def _add_plan(group: Any) -> None:
    plan = add_verb(
        group, "plan", "which sizes, images and seeds to train next, and what to expect of them",
        "nasbench scale plan results/scaling --gpus 8 --hours 24 --rate 4TMAC", _plan, True,
    )  # fmt: skip
    add = plan.add_argument
    add("studies", nargs="*", metavar="STUDY", help="folders of studies (default: every one below results/)")
    add("--gpus", type=positive, default=1, metavar="N", help="devices (default: 1)")
    add("--hours", type=hours, default=24.0, help="hours of each (default: 24)")
    add("--rate", metavar="MACS", help="multiply-adds a second of one device, such as 4TMAC (default: as measured)")
    add("--design", metavar="NAME", help="whose law to plan with (default: the best expected at the target)")
    _add_law_options(plan)


def _add_fit(group: Any) -> None:
    fit = add_verb(
        group, "fit", "fit laws of error over size and samples to studies, or to a published family",
        "nasbench scale fit results/scaling\nnasbench scale fit --published regnety --hold-out", _fit, True,
    )  # fmt: skip
    add = fit.add_argument
    add("studies", nargs="*", metavar="STUDY", help="folders of studies, as `nasbench scale train` makes them")
    add("--published", metavar="FAMILY", help="fit quoted figures instead: regnety, efficientnet, mobilevitv2, ...")
    add("--over", default="flops", help="for --published: flops or params (default: flops)")
    add("--hold-out", action="store_true", help="for --published: leave the largest network out, and predict it")
    add("--trainings", action="store_true", help="also print every training, averaged over seeds")
    _add_law_options(fit)
    add("--out", metavar="DIR", help="where laws.json and plots go (default: the first study; . for --published)")


def _add_law_options(parser: Any) -> None:
    parser.add_argument("--loss", default="error", help="what falls: error or loss (default: error)")
    parser.add_argument("--draws", type=up_to(100_000), default=300, metavar="N", help="bootstrap fits (default: 300)")


def _add_compare(group: Any) -> None:
    compare = add_verb(
        group, "compare", "which design wins at a larger size, with a probability",
        "nasbench scale compare results/scaling --at 4x", _compare, True,
    )  # fmt: skip
    compare.add_argument("studies", nargs="+", metavar="STUDY", help="folders of studies")
    compare.add_argument("--at", default="4x", metavar="SIZE", help="4x the largest trained, or 4GFLOP (default: 4x)")
    _add_law_options(compare)


def _fit(options: argparse.Namespace) -> int:
    if bool(options.studies) == bool(options.published):
        raise UserError("give the folders of studies, or --published FAMILY, and not both; see `nasbench scale fit -h`")
    return _fit_published(options) if options.published else _fit_studies(options)


def _fit_studies(options: argparse.Namespace) -> int:
    from nasbench.scaling.family_laws import fit_families, law_rows, record, warnings, write_record
    from nasbench.scaling.pictures import study_pictures
    from nasbench.scaling.points import by_family, loss_name, read_points, summary

    points = read_points(options.studies)
    laws = fit_families(points, options.loss, options.draws)
    out = Path(options.out or options.studies[0])
    out.mkdir(parents=True, exist_ok=True)
    content = record(laws)
    if options.json:
        print_json(content)
    else:
        for group in by_family(points).values() if options.trainings else ():
            print_table(summary(group, options.loss))
        print_table(
            [row for entry in laws for row in law_rows(entry)],
            title=f"{loss_name(points, options.loss)} = E + A x^-exponent, 90 %",
        )
        for line in (line for entry in laws for line in warnings(entry)):
            print(f"! {line}")
        held = [item.row() for entry in laws for item in entry.held_out]
        if held:
            print_table(held, title="fitted without the largest size, which is then predicted")
        _print_splits(laws, loss_name(points, options.loss))
    paths = [write_record(content, out), *study_pictures(laws, out, options.loss)]
    print(f"written: {', '.join(str(path) for path in paths if path.suffix != '.svg')}", file=sys.stderr)
    return 0


def _print_splits(laws: list[FamilyLaws], loss: str) -> None:
    from nasbench.scaling.isoflop import budgets, growth, split

    for entry in laws:
        if entry.joint is None:
            continue
        rows = [split(entry.joint, entry.cost, float(compute)).row(loss) for compute in budgets(entry.points)]
        print_table(rows, title=f"{entry.name}: compute-optimal split")
        power, (low, high) = growth(entry.joint, entry.cost)
        print(f"{entry.name}: the best size grows as compute^{power:.2f} [{low:.2f}, {high:.2f}]")


def _fit_published(options: argparse.Namespace) -> int:
    from nasbench.scaling.family_laws import fit_record
    from nasbench.scaling.pictures import published_picture
    from nasbench.scaling.quoted_families import family, fit_published

    found = family(options.published)
    fit = fit_published(found, options.over, options.hold_out, options.draws)
    out = Path(options.out or ".")
    out.mkdir(parents=True, exist_ok=True)
    if options.json:
        print_json({"family": found.key, "source": found.source, **fit_record(fit)})
    else:
        print(f"{found.title}: {found.source}; {found.trained}; FLOPs {found.counted}")
        sizes = found.over(options.over)
        rows = [
            {"network": name, "FLOPs M": f"{f / 1e6:,.0f}", "params M": f"{p / 1e6:.1f}", "error quoted": f"{e:.4f}",
             "law": f"{float(fit.law.predict(size)[0]):.4f}"}
            for name, f, p, e, size in zip(found.names, found.flops, found.params, found.error, sizes)
        ]  # fmt: skip
        print_table(rows)
        (low_e, high_e), (low, high) = fit.interval("E"), fit.interval("alpha")
        print(f"error = {fit.law.formula()}")
        print(f"90 %: E {low_e:.3f} to {high_e:.3f}, exponent {low:.2f} to {high:.2f} by bootstrap, "
              f"{fit.profile[0][0]:.2f} to {fit.profile[0][1]:.2f} by likelihood")  # fmt: skip
        for line in fit.warnings:
            print(f"! {line}")
        if options.hold_out:
            _print_published_test(found, fit, options.over)
    paths = published_picture(found, fit, options.over, out, options.hold_out)
    print(f"written: {paths[0]}, {paths[1]}", file=sys.stderr)
    return 0


def _print_published_test(found: Family, fit: LawFit, over: str) -> None:
    sizes = found.over(over)
    top = int(sizes.argmax())
    low, high = fit.outcome_interval(sizes[top], seeds=1)
    verdict = "inside" if low[0] <= found.error[top] <= high[0] else "outside"
    print(f"{found.names[top]}, not used in the fit: quoted {found.error[top]:.4f}, predicted "
          f"{float(fit.law.predict(sizes[top])[0]):.4f} [{low[0]:.4f}, {high[0]:.4f}]: {verdict}")  # fmt: skip


def _compare(options: argparse.Namespace) -> int:
    from nasbench.scaling.comparison import crossings, standings
    from nasbench.scaling.family_laws import fit_families
    from nasbench.scaling.points import SIZE, largest, loss_name, read_points

    factor, size = _place(options.at)
    points = read_points(options.studies)
    fitted = fit_families(points, options.loss, options.draws, forms=(SIZE,), hold_out=False)
    laws = [entry for entry in fitted if entry.size is not None]
    fits = {entry.name: entry.size for entry in laws if entry.size is not None}
    if len(fits) < 2:
        raise UserError(f"{len(fits)} design can be compared; a comparison needs two, each at three sizes or more")
    top = max(largest(entry.points) for entry in laws)
    place = factor * top if size is None else size
    table = standings(fits, place)
    crossing = crossings(fits, min(point.flops for point in points), max(place, top))
    if options.json:
        print_json({"flops": place, "standings": [vars(s) for s in table], "crossings": [vars(c) for c in crossing]})
        return 0
    print_table(
        [s.row(loss_name(points, options.loss)) for s in table],
        title=f"at {place / 1e9:.3g} GFLOP ({place / top:.3g} x the largest trained)",
    )
    for c in crossing:
        print(f"{c.first} and {c.second} cross at {c.at / 1e9:.3g} GFLOP [{c.low / 1e9:.3g}, {c.high / 1e9:.3g}] "
              f"(in {c.probability:.0%} of the draws)")  # fmt: skip
    if any(not s.identified for s in table):
        print(
            "! a law whose exponent is not identified extrapolates with little but its interval: mind the probabilities"
        )
    return 0


def _place(text: str) -> tuple[float, float | None]:
    """`4x` as a factor of the largest trained size; or a size such as 4GFLOP, in multiply-adds, beside it."""
    from nasbench.costs.budget import Budget

    if text.lower().endswith("x"):
        try:
            factor = float(text[:-1])
        except ValueError:
            factor = -1.0
        if not 1 / MOST_TIMES <= factor <= MOST_TIMES:
            raise UserError(f"--at {shown(text)}: write a factor such as 4x, or a size such as 4GFLOP")
        return factor, None
    budget = Budget.parse(text)
    if budget.metric not in ("flops", "macs"):
        raise UserError(
            f"--at {text}: laws of size are over FLOPs; write a factor such as 4x, or a size such as 4GFLOP"
        )
    return 1.0, budget.limit


def _plan(options: argparse.Namespace) -> int:
    from nasbench.scaling.family_laws import fit_families
    from nasbench.scaling.plan import make_plan, measured_rate
    from nasbench.scaling.points import JOINT, loss_name, read_points
    from nasbench.scaling.study import train_options

    given = _rate(options.rate) if options.rate is not None else None
    studies = options.studies or _known_studies()
    points = read_points(studies)
    if options.design:
        points = [point for point in points if point.family == options.design]
    fitted = fit_families(points, options.loss, options.draws, forms=(JOINT,), hold_out=False) if points else []
    laws = [entry for entry in fitted if entry.joint is not None]
    if not laws:
        wanted = f"of {options.design} " if options.design else ""
        raise UserError(f"no law {wanted}in parameters and samples: train three sizes at three sample counts or more")
    rate = measured_rate(points) if given is None else given
    plans = [make_plan(entry, options.gpus, options.hours, rate) for entry in laws]
    best = min(plans, key=lambda plan: plan.target.error)
    if options.json:
        print_json({**vars(best), "runs": [vars(run) for run in best.runs], "target": vars(best.target)})
    else:
        _print_budget(options, best, rate, points[0].device)
        name = loss_name(points, options.loss)
        _print_trainings(best, name, train_options(studies))
        _print_target(best, name, max(point.compute for point in points))
    return 0


def _rate(text: str) -> float:
    """`4TMAC` or `4TMAC/s`, in multiply-adds a second."""
    from nasbench.costs.budget import Budget

    rate = Budget.parse(text.removesuffix("/s"))
    if rate.metric not in ("flops", "macs"):
        raise UserError(f"--rate {text}: a device's multiply-adds a second are asked for; write for example 4TMAC")
    return rate.limit


def _print_budget(options: argparse.Namespace, plan: Plan, rate: float, device: str) -> None:
    how = "as given" if options.rate else f"measured on this study's {device}; --rate gives another device's"
    print(f"{options.gpus} x {options.hours:g} h at {rate / 1e9:,.3g} GMAC/s a device ({how}): "
          f"{plan.compute / 1e15:.3g} PMAC of training")  # fmt: skip


def _print_trainings(plan: Plan, loss: str, options: list[str]) -> None:
    """What to train first, and the commands that do."""
    if not plan.runs:
        print(f"{plan.design}: no training within a quarter of the budget would narrow the prediction by 1 %")
        return
    print_table([run.row(loss) for run in plan.runs], title=f"{plan.design}: trainings that tell most, to make first")
    for run in plan.runs:
        print(f"  nasbench scale train {plan.design} --to {run.flops / 1e6:.0f}MFLOP --samples {run.samples} "
              f"--seeds {run.seeds} {''.join(f'{shlex.quote(word)} ' for word in options)}--out DIR")  # fmt: skip


def _print_target(plan: Plan, loss: str, largest_compute: float) -> None:
    """The training that the budget is meant for, with a caution where it lies far beyond the largest one so far."""
    t = plan.target
    print(f"then one training of {plan.target_flops / 1e6:,.0f} MFLOP on {t.samples:,.0f} images: {loss} "
          f"{t.error:.3f}, 90 % {plan.now[0]:.3f} to {plan.now[1]:.3f} now, "
          f"{plan.then[0]:.3f} to {plan.then[1]:.3f} expected after those trainings (all predicted)")  # fmt: skip
    reach = plan.compute / largest_compute
    if reach > FAR:
        print(f"! that is {reach:,.0f} times the largest training so far: a law is a guess that far out, and images "
              "would repeat, which it does not know")  # fmt: skip


def _known_studies() -> list[Path]:
    from nasbench.scaling.study import FILE

    found = sorted(path.parent for path in Path("results").glob(f"*/{FILE}"))
    if not found:
        raise UserError(f"no study given, and none with a {FILE} below results/; make one with `nasbench scale train`")
    return found
