"""`audit`: which networks at which fidelity, their scores from rows or from training, and the report in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points, load
from nasbench.auditing.collecting import Wanted, collect
from nasbench.auditing.result import Audit, Network
from nasbench.auditing.rows import RowKey, ScoreRow
from nasbench.costs.analytic import cost
from nasbench.errors import UserError, require
from nasbench.files import write_atomic
from nasbench.latency.names import THIS_MACHINE
from nasbench.latency.profile import DeviceProfile, load_device
from nasbench.progress import Progress, ProgressState, Silent
from nasbench.proxy.images import images_named
from nasbench.proxy.reduction import is_spelled_out
from nasbench.published.accuracies import Accuracy, accuracies, family_of
from nasbench.study.fidelity import LONG, Fidelity, Rung, load_recipe
from nasbench.study.runner import LAPTOP, Priority, load_runner, runner_ladder
from nasbench.study.standing import keep
from nasbench.study.task import DATA

MACS_LIMIT = 5e9  # of the networks that are audited unless some are named
FIRST_SEED = 11  # a search's own seeds are small numbers


def audit(
    names: Sequence[str | Path] | None = None, rung: int | str = -1, seeds: int = 1, *,
    recipe: str | Path | None = None, samples: int | None = None, data: str | Path = DATA, long: bool = False,
    runner: str | Path = LAPTOP, published: str | Path | None = None, device: str = THIS_MACHINE,
    out: str | Path | None = None, priority: Priority | None = None, progress: Progress | None = None,
) -> Audit:  # fmt: skip
    """Train networks at a rung and set their ranking beside what is known of them -> the audit, written to `out`.

    `names`: shipped names or paths; by default all that were trained on ImageNet-1k alone, up to 5 GMAC. `rung`: its
    number in the runner's ladder or its name; `recipe` and `samples` replace what the ladder says. `seeds`: trainings
    of each network at least; rows of further seeds count too. `long`: also train ten times as long, with one seed.
    `published`: a file of further published accuracies (`accuracies`). `priority`: as for `search`. Scores that
    `out` or the shipped rows hold are not measured again, so a run that was killed goes on. A UserError says what
    to change.
    """
    require("whole number", seeds=seeds, samples=samples)
    require("name or path", runner=runner, out="" if out is None else out)
    fidelity = _fidelity(rung, recipe, samples, runner)
    networks, quoted = chosen_networks(names, published), accuracies(published)
    latencies = _latencies(networks, device)
    wanted, folder, progress = plan(networks, fidelity, seeds, long), folder_of(fidelity, out), progress or Silent()
    progress.update(ProgressState("reading images"))
    images = images_named(data)
    rows = collect(wanted, images, load_runner(runner, priority), folder, progress, also=[fidelity.longer.id])
    found = Audit(
        fidelity, images.label, images.id, "published" if images.ours else "long", LONG,
        _networks(networks, quoted, rows, fidelity, latencies),
    )  # fmt: skip
    write_report(found, folder)
    return found


def folder_of(fidelity: Fidelity, out: str | Path | None = None) -> Path:
    """Where an audit lies: `out`, or a folder of this fidelity's own in results/."""
    return Path(out) if out is not None else Path("results") / f"audit-{fidelity.id}"


def _fidelity(rung: int | str, recipe: str | Path | None, samples: int | None, runner: str | Path) -> Fidelity:
    """The rung's fidelity, with the recipe and samples that were asked for in place of its own."""
    base = _rung(rung, runner).fidelity
    count = base.samples if samples is None else samples
    if recipe is None:
        return base.replace(samples=count)
    return load_recipe(recipe).at(count, evaluate=base.evaluate)


def _rung(wanted: int | str, runner: str | Path) -> Rung:
    rungs = runner_ladder(runner).rungs
    number = str(wanted).strip()
    for index, rung in enumerate(rungs):
        if number in (rung.name, str(index), str(index - len(rungs))):
            return rung
    known = ", ".join(f"{index} ({rung.name})" if rung.name else str(index) for index, rung in enumerate(rungs))
    raise UserError(f"rung {wanted!r}: the ladder of {runner} has {known}; name one of them, or its number")


def chosen_networks(names: Sequence[str | Path] | None, published: str | Path | None = None) -> dict[str, Architecture]:
    """Name -> network: those named, else every shipped one up to 5 GMAC whose published accuracy is a plain one.

    One that spells parts out as slots (ConvNeXt) has to be named: nothing reduces its width, so it is trained whole.
    """
    if names is None:
        plain = {name for name, quoted in accuracies(published).items() if quoted.plain}
        shipped = {n: arch for n, arch in fixed_points().items() if n in plain and not is_spelled_out(arch)}
        return {name: arch for name, arch in shipped.items() if cost(arch).macs <= MACS_LIMIT}
    found: dict[str, Architecture] = {}
    for name in (names,) if isinstance(names, (str, Path)) or not isinstance(names, Iterable) else names:
        arch = load(name)
        known = found.setdefault(arch.label, arch)
        if known.id != arch.id:
            raise UserError(f"{name}: another network called {arch.label!r} is named too; give it another name")
    return found


def plan(networks: Mapping[str, Architecture], fidelity: Fidelity, seeds: int, long: bool) -> list[Wanted]:
    """The rows of an audit, in the order in which they are worth having: a first seed of all networks, cheap ones
    first, untrained scores, further seeds, long trainings."""
    if seeds < 1:
        raise UserError(f"seeds = {seeds}: must be at least 1")
    ordered = sorted(networks.items(), key=lambda item: cost(item[1]).macs)
    wanted = [Wanted(name, arch, fidelity, FIRST_SEED) for name, arch in ordered]
    wanted += [Wanted(name, arch, fidelity, FIRST_SEED, trained=False) for name, arch in ordered]
    wanted += [Wanted(name, arch, fidelity, FIRST_SEED + more) for more in range(1, seeds) for name, arch in ordered]
    return wanted + [Wanted(name, arch, fidelity.longer, FIRST_SEED) for name, arch in ordered if long]


Latency = tuple[float, str]


def _latencies(networks: Mapping[str, Architecture], device: str) -> dict[str, Latency]:
    """Name -> latency in ms and whether it was measured; nothing where the device has no profile, or one that was
    fitted to networks of another kind."""
    try:
        profile: DeviceProfile = load_device(device)
    except UserError:
        if device != THIS_MACHINE:
            raise
        return {}
    measured = {record.id: record.measurement.latency_ms for record in profile.records}
    guess = profile.predict(list(networks.values()))
    found = {}
    for index, (name, arch) in enumerate(networks.items()):
        if arch.id in measured:
            found[name] = (measured[arch.id], "measured")
        elif not guess.extrapolating[index]:
            found[name] = (float(guess.latency_ms[index]), "predicted")
    return found


def _networks(
    networks: Mapping[str, Architecture], quoted: Mapping[str, Accuracy], rows: Mapping[RowKey, ScoreRow],
    fidelity: Fidelity, latencies: Mapping[str, Latency],
) -> tuple[Network, ...]:  # fmt: skip
    by_name: dict[str, list[ScoreRow]] = {name: [] for name in networks}
    for row in rows.values():
        by_name[row.network].append(row)
    found = []
    for name, arch in networks.items():
        costs, own = cost(arch), by_name[name]
        milliseconds, kind = latencies.get(name, (None, ""))
        found.append(
            Network(
                name=name,
                family=family_of(name),
                published=quoted.get(name),
                macs=costs.macs,
                params=costs.params,
                flops=costs.flops,
                latency_ms=milliseconds,
                latency_is=kind,
                short={row.seed: row for row in own if row.samples == fidelity.samples},
                long={row.seed: row for row in own if row.samples > fidelity.samples},
                untrained=next((row for row in own if row.samples == 0), None),
            )
        )
    return tuple(found)


def write_report(found: Audit, folder: Path) -> None:
    """audit.csv, audit.json, audit.png, .svg and .pdf into `folder`; the figures also into the cache, for searches."""
    write_atomic(folder / "audit.csv", found.rows().to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    write_atomic(folder / "audit.json", json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n")
    found.plot(folder / "audit")
    if found.standing.headline is not None:
        keep(found.standing)
