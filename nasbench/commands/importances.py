"""`nasbench space importance`: which fields of a search space matter, for accuracy, latency and multiply-adds."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.commands.common import add_verb, console, print_json, print_table, up_to, whole, writable_file
from nasbench.errors import UserError, visible

if TYPE_CHECKING:
    from nasbench.importance.estimate import Importances
    from nasbench.importance.samples import Scored
    from nasbench.report.results import StudyResult
    from nasbench.space import SearchSpace

METRICS = ("accuracy", "latency", "macs")
DRAWN = 500  # designs, where a figure is to be had for any
SHOWN = 15  # lines a table
EXAMPLE = """nasbench space importance metablock --metric accuracy --metric macs -o importance.png
nasbench space importance results/mine --by stage"""


def add(group: Any) -> None:
    parser = add_verb(
        group, "importance", "which fields of a space matter for accuracy and latency", EXAMPLE, _importance, True
    )
    parser.add_argument(
        "space", nargs="?", default="metablock", metavar="SPACE | STUDY",
        help="a shipped search space, a TOML file, or a study's folder: its space, its trials (default: metablock)",
    )  # fmt: skip
    parser.add_argument(
        "--table", metavar="T", help="where accuracies come from: a name, file or folder (default: the space's own)"
    )
    parser.add_argument(
        "--metric",
        action="append",
        choices=METRICS,
        help="repeatable (default: accuracy, and latency where it is known)",
    )
    parser.add_argument(
        "--by", choices=("field", "stage", "place"), default="field",
        help="field: in all stages at once (default); stage: a stage with all its fields; place: each field by itself",
    )  # fmt: skip
    parser.add_argument(
        "--device", default="this-machine", help="profile that predicts latency (default: this-machine)"
    )
    parser.add_argument(
        "--designs", type=up_to(20_000), default=DRAWN, metavar="N",
        help=f"random designs for latency and macs of a space (default: {DRAWN})",
    )  # fmt: skip
    parser.add_argument("--seed", type=whole, default=0, help="seed of these designs (default: 0)")
    parser.add_argument("-o", "--output", metavar="FILE", help="also draw it: FILE.png, .svg and .pdf")


@dataclass(frozen=True)
class _Source:
    """Where designs and their figures come from."""

    space: SearchSpace
    study: StudyResult | None
    options: argparse.Namespace

    @classmethod
    def of(cls, options: argparse.Namespace) -> _Source:
        from nasbench.report.results import open_study
        from nasbench.space import SearchSpace
        from nasbench.space.shipped import load_space

        if not Path(options.space).is_dir():
            return cls(load_space(options.space), None, options)
        study = open_study(options.space)
        return cls(SearchSpace.from_dict(study.study.space.content, options.space), study, options)

    def scored(self, metric: str) -> Scored:
        from nasbench.importance import samples
        from nasbench.latency.profile import load_device
        from nasbench.table.loading import load_table

        if metric == "accuracy":
            if self.study is not None and self.options.table is None:
                return samples.of_study(self.study)
            return samples.of_table(load_table(self.options.table or self.space.label))
        if self.study is not None:
            designs = [trial.design for trial in self.study.trials]
            return samples.latency_of_study(self.study) if metric == "latency" else samples.macs_of(designs)
        profile = load_device(self.options.device) if metric == "latency" else None
        designs = samples.drawn_designs(self.space, self.options.designs, self.options.seed)
        return samples.macs_of(designs) if profile is None else samples.latency_of(designs, profile)


def _importance(options: argparse.Namespace) -> int:
    from nasbench.importance.samples import importances_of

    output = writable_file(options.output, "importance.png") if options.output else None
    source = _Source.of(options)
    found = [importances_of(source.space, scored, options.by) for scored in _scored(source)]
    written: list[Path] = []
    if output is not None:
        from nasbench.importance.picture import write_importances

        written = write_importances(found, f"Which fields of {source.space.label} matter", output)
    if options.json:
        print_json([_record(each) for each in found])
        return 0
    for each in found:
        _print(each)
    print(
        "Shares of the score's variance lost to prediction when a field's values are exchanged among the designs that"
    )
    print("have it, with what hangs on them; median and 90 % over bootstraps, always of designs left out.")
    if written:
        print(f"Drawn: {', '.join(map(str, written))}")
    return 0


def _scored(source: _Source) -> list[Scored]:
    """The metrics that were asked for; without any, accuracy, and latency where a profile is here."""
    if source.options.metric:
        return [source.scored(metric) for metric in dict.fromkeys(source.options.metric)]
    found = [source.scored("accuracy")]
    try:
        return [*found, source.scored("latency")]
    except UserError as error:
        print(visible(f"latency is left out: {error}"), file=sys.stderr)
        return found


def _print(found: Importances) -> None:
    lines = [
        {"field": each.name, "share %": f"{100 * each.share:.1f}",
         "90 %": f"[{100 * each.low:.1f}, {100 * each.high:.1f}]", "designs": each.designs,
         "more than none": found.tells_apart(each)}
        for each in found.levers[:SHOWN]
    ]  # fmt: skip
    console().print(f"{found.score}: {found.told}", soft_wrap=True)
    print_table(lines)
    if len(found.levers) > SHOWN:
        print(f"and {len(found.levers) - SHOWN} with less")


def _record(found: Importances) -> dict[str, Any]:
    return {"score": found.score, "designs": found.designs, "explained": found.explained,
            "fields": [each._asdict() for each in found.levers]}  # fmt: skip
