"""How long the report page of a large study takes to write, how large it is, and how fast its filters are.

    python benchmarks/report_page.py                     # 2,000 trials of designs drawn from the default space
    python benchmarks/report_page.py --trials 500 --out page.json
    python benchmarks/report_page.py --chromium chromium # also times the filters in a browser

The designs are drawn and cost what they cost; scores and latencies are made up from their cost, since only their number
matters here. Nothing of it is a result.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.costs.budget import parse_budgets
from nasbench.hardware import cpu_cores, cpu_model
from nasbench.page.render import write_page
from nasbench.report.results import open_study
from nasbench.space.shipped import load_space
from nasbench.strategies import StrategyChoice
from nasbench.study.fidelity import Ladder
from nasbench.study.notes import LatencyNote
from nasbench.study.predicted import Interval, Predicted
from nasbench.study.runner import LAPTOP, load_runner, runner_ladder
from nasbench.study.store import TrialStore
from nasbench.study.study import SpaceRecord, Study
from nasbench.study.trials import Kind, Level, Origin, Outcome, State, Trial

# Runs in the page, behind its own scripts and before it counts as loaded: sets each limit of latency in turn, several
# times over, and draws, until the browser knows where everything stands.
TIMER = """
<script>
{
  const limits = [20, 15, 10, 8, 6, 8, 10, 15, 20, ""];
  const taken = limits.map(() => []);
  for (let round = 0; round < 5; round += 1)
    limits.forEach((limit, at) => {
      byId("most-ms").value = limit;
      const start = performance.now();
      drawFront();
      byId("front-plot").getBoundingClientRect();
      taken[at].push(performance.now() - start);
    });
  const result = document.createElement("p");
  result.id = "taken";
  result.textContent = JSON.stringify(taken);
  document.body.append(result);
}
</script>
"""


def made_up_study(folder: Path, trials: int) -> None:
    """A study of so many trials: 70 % at the lowest rung, the rest at the next one and as finals with three seeds."""
    space, ladder = load_space("metablock"), runner_ladder(LAPTOP)
    budgets, rng = parse_budgets(["1GFLOP"]), np.random.default_rng(0)
    study = Study(
        space=SpaceRecord(name=space.name, content=space.to_dict()), budgets=budgets, ladder=ladder,
        strategy=StrategyChoice.from_dict({"name": "random"}), trials=trials, runner=load_runner(LAPTOP),
    )  # fmt: skip
    study.create(folder)
    lowest = int(0.7 * trials)
    designs = [space.sample(rng, budgets) for _ in range(lowest)]
    plan = [(arch, Level(0), 0) for arch in designs]
    plan += [(arch, Level(1), 0) for arch in designs[: (trials - lowest) // 2]]
    finals = (trials - len(plan)) // 3
    plan += [(arch, Level(1, final=True), seed) for arch in designs[:finals] for seed in (1, 2, 3)]
    with TrialStore(folder) as store:
        latencies = {}
        for arch, level, seed in plan:
            score(store, study.ladder, arch, level, seed, rng)
            ms = 1e-8 * cost(arch).macs + 1e-6 * cost(arch).activations
            latencies[arch.id] = Predicted(Interval(ms, 0.9 * ms, 1.1 * ms), extrapolating=False)
        store.note(LatencyNote(predicted=latencies))


def score(
    store: TrialStore, ladder: Ladder, arch: Architecture, level: Level, seed: int, rng: np.random.Generator
) -> None:
    costs = cost(arch)
    origin = Origin(Kind.SEARCHED, level.rung, "random", costs)
    split = "test" if level.final else "validation"
    trial = Trial.new(arch, ladder.rungs[level.rung].fidelity, seed, "made-up", split, origin)
    if store.get(trial.key) is None:
        store.submit(trial)
        accuracy = 0.3 + 0.05 * np.log(costs.macs / 1e7) + rng.normal(0, 0.02)
        store.finish(trial.key, Outcome(State.COMPLETE, {"accuracy": float(np.clip(accuracy, 0, 1))}, seconds=1.0))


def filter_milliseconds(page: Path, chromium: str) -> dict[str, object]:
    """Until the picture stands after each of ten changes of a filter, five times over.

    `free_core` is the fastest of the five for each change, which other work on the machine delays least.
    """
    timed = page.with_name("timed.html")
    timed.write_text(page.read_text(encoding="utf-8").replace("</body>", TIMER + "</body>"), encoding="utf-8")
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    done = subprocess.run([*command, timed.as_uri()], capture_output=True, text=True, check=True)
    found = re.search(r'id="taken">(.*?)</p>', done.stdout)
    if found is None:
        raise SystemExit("the browser did not tell how long the filters took")
    taken = np.array(json.loads(found[1]))
    return {
        "free_core": [round(float(value), 1) for value in taken.min(1)],
        "median": round(float(np.median(taken)), 1),
        "worst": round(float(taken.max()), 1),
        "load": [round(value, 1) for value in os.getloadavg()],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--chromium", help="the browser's command, to time filters with")
    parser.add_argument("--folder", type=Path, help="where to keep the study and its page (default: nowhere)")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "study"
        if not (folder / "study.toml").exists():
            made_up_study(folder, options.trials)
        start, processor = time.perf_counter(), time.process_time()
        result = open_study(folder)
        write_page(folder / "report.html", [result])
        figures = {
            "trials": len(result.trials),
            "seconds": round(time.perf_counter() - start, 2),
            "processor_seconds": round(time.process_time() - processor, 2),
            "page_bytes": (folder / "report.html").stat().st_size,
            "python": platform.python_version(),
            "cpu": cpu_model(),
            "cores": cpu_cores(),
        }
        if options.chromium:
            figures["filter_ms"] = filter_milliseconds(folder / "report.html", options.chromium)
    print(json.dumps(figures, indent=1))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
