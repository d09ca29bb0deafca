"""How far the ranking of a fidelity can be trusted, by an audit: its figures, and these in words.

Audits of the shipped ladder come with the package, a user's own (`nasbench audit`) lie in the cache. A search reports
those of its rungs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from nasbench.errors import UserError
from nasbench.files import cache_dir, write_atomic
from nasbench.study.fidelity import Fidelity, Ladder
from nasbench.values import Value

SHIPPED = Path(__file__).with_name("standings.json")
CACHED = "audits"  # folder in the cache
BASELINES = {"params": "parameters", "macs": "multiply-adds"}  # what may be counted instead of training
WIDEST = 1.0  # of a tau's 90 % interval, for an audit on other images to be used
MISJUDGED = 1.5  # standard deviations of the others, from which on a family's residual is reported
TRUTH_NAMES = {"published": "published networks", "long": "networks as trainings {times} times as long do"}


Tau = Annotated[float, Field(ge=-2, le=2)]  # a correlation, or the difference of two
Count = Annotated[int, Field(ge=0, le=10**12)]
Deviations = Annotated[float, Field(ge=-1e6, le=1e6)]


class Figure(Value):
    """Kendall's tau with its 90 % interval over `pairs` pairs of networks."""

    tau: Tau
    low: Tau
    high: Tau
    pairs: Count

    def __str__(self) -> str:
        return f"{short(self.tau)} [{short(self.low)}, {short(self.high)}]"


class Standing(Value):
    """The audit of one fidelity on one set of images.

    `figures` are of the rung's accuracy by what they compare with: published, long, seed, and published_within,
    published_similar and so on for the groups of pairs; `baselines` are of sizes, latency and untrained scores against
    `truth`; `advantage` is tau of the rung minus that of each baseline.
    """

    fidelity: str
    recipe: str
    samples: Count
    data: str
    data_id: str
    networks: Count
    families: Count
    seeds: Count
    truth: Literal["published", "long"]
    times: Count  # how much longer the long trainings are
    figures: dict[str, Figure] = Field(default_factory=dict)
    baselines: dict[str, Figure] = Field(default_factory=dict)
    advantage: dict[str, Figure] = Field(default_factory=dict)
    in_order: tuple[Count, Count] = (0, 0)  # of decidable pairs of similar cost across families
    misjudged: dict[str, Deviations] = Field(default_factory=dict)  # family -> mean residual by that of the others

    @property
    def headline(self) -> Figure | None:
        return self.figures.get(self.truth)

    def worse_than(self) -> list[str]:
        """The sizes that rank as well as the rung does, or better."""
        return [name for name in BASELINES if name in self.advantage and self.advantage[name].tau <= 0]


def short(value: float) -> str:
    """.38, -.05, 1.00: a correlation as papers print it."""
    return f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 0.995 else f"{value:.2f}"


def sentences(standing: Standing, name: str = "This rung") -> list[str]:
    """The verdict in one or two sentences; `name` is the rung's."""
    own = standing.headline
    if own is None and standing.truth == "long":
        remedy = f"--long trains {standing.times} times as long"
        return [f"{name}: nothing on these images to hold its ranking against; {remedy}."]
    if own is None:
        return [f"{name}: too few networks with a published accuracy to say how it ranks."]
    what = TRUTH_NAMES[standing.truth].format(times=standing.times)
    counted = [key for key in BASELINES if key in standing.baselines]
    beside = ", ".join(f"{BASELINES[key]} {short(standing.baselines[key].tau)}" for key in counted)
    lines = [f"{name} orders {what} with tau {own}{f'; counting {beside}' if beside else ''}."]
    worse = standing.worse_than()
    if worse:
        told = " or ".join(BASELINES[key] for key in worse)
        kind = "published networks" if standing.truth == "published" else "networks"
        lines.append(f"{name} ranks the {kind} worse than counting {told} does.")
    return lines


def details(standing: Standing) -> list[str]:
    """The rest of the verdict: comparable pairs, long trainings, the ceiling, families that are misjudged."""
    figures, (right, pairs) = standing.figures, standing.in_order
    lines = []
    if pairs:
        lines.append(
            f"Of {pairs} pairs from different families that cost alike and differ by 1.5 points or more, it puts "
            f"{right} in order ({right / pairs:.0%})."
        )
    if "published" in figures and standing.truth != "published":
        lines.append(f"Against published accuracy on ImageNet-1k, other images than these: tau {figures['published']}.")
    if "long" in figures and standing.truth != "long":
        found = figures["long"]
        lines.append(f"With trainings {standing.times} times as long it agrees with tau {found} ({found.pairs} pairs).")
    if "seed" in figures:
        lines.append(f"Two seeds of it agree with tau {figures['seed']}: no ranking of single trainings can do better.")
    if standing.misjudged:
        told = ", ".join(f"{family} {value:+.1f}" for family, value in sorted(standing.misjudged.items(), key=_far))
        lines.append(
            f"Misjudged families (mean residual in standard deviations of the others, beyond {MISJUDGED}): {told}."
        )
    elif standing.families > 1:
        lines.append(f"No family lies more than {MISJUDGED} standard deviations of the others off.")
    return lines


def _far(item: tuple[str, float]) -> float:
    return -abs(item[1])


def standing_of(fidelity: Fidelity, data_id: str | None) -> Standing | None:
    """The audit of this fidelity on these images, else on other ones if its interval is narrow enough; else None."""
    known = [each for each in (*_cached(fidelity.id), *shipped_standings()) if each.fidelity == fidelity.id]
    others = [each for each in known if each.headline and each.headline.high - each.headline.low <= WIDEST]
    return next((each for each in known if each.data_id == data_id), others[-1] if others else None)


def ladder_standings(ladder: Ladder, data_id: str | None) -> list[tuple[str, Standing]]:
    """Names and audits of those rungs that have one."""
    found = []
    for index, rung in enumerate(ladder.rungs):
        standing = standing_of(rung.fidelity, data_id)
        if standing is not None:
            found.append((f"The rung {rung.name!r}" if rung.name else f"Rung {index}", standing))
    return found


def ladder_lines(standings: Sequence[tuple[str, Standing]], data_id: str | None) -> list[str]:
    """One or two sentences a rung, for the end of a search."""
    lines = []
    for name, standing in standings:
        elsewhere = "" if standing.data_id == data_id else f" (on {standing.data}, not on these images)"
        lines += sentences(standing, f"{name}{elsewhere}")
    return lines


@lru_cache(maxsize=1)
def shipped_standings() -> tuple[Standing, ...]:
    return tuple(_read(SHIPPED))


def _cached(fidelity_id: str) -> Iterator[Standing]:
    """This user's own audits, newest last; unreadable files are skipped."""
    for path in sorted((cache_dir() / CACHED).glob(f"{fidelity_id}-*.json"), key=lambda path: path.stat().st_mtime):
        try:
            yield from _read(path)
        except UserError:
            continue


def _read(path: Path) -> list[Standing]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{path}: cannot be read as JSON; delete it, or run `nasbench audit` again") from None
    records = content if isinstance(content, list) else [content]
    return [Standing.from_dict(record if isinstance(record, Mapping) else {}, str(path)) for record in records]


def keep(standing: Standing) -> Path:
    """Write an audit to the cache, where searches find it -> its file."""
    folder = cache_dir() / CACHED
    folder.mkdir(exist_ok=True)
    path = folder / f"{standing.fidelity}-{standing.data_id}.json"
    write_atomic(path, json.dumps(standing.to_dict(), indent=1) + "\n")
    return path
