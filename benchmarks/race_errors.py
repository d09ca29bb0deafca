"""How often a race between finalists ends with a winner that is none, and how often it finds one that is.

    python benchmarks/race_errors.py --races 2000 [--trainings 40]

Networks of known accuracy and noise race as in a search (nasbench/engine/race.py): one published network whose seeds
scatter by 2.5 points, designs whose seeds scatter by 1.5, all no slower than it, 20 trainings; in the last races a
weak design, fifteen points behind, scatters by six. A winner is a design whose lead the report calls more than noise.
Beside it the same without correction for the looks after every training, with noise pooled over everybody instead of
the two compared and those that are trained often, and a race in which everybody is trained equally often.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nasbench.engine.race import Racer, next_racer
from nasbench.report.noise import RACED, choice_factor
from nasbench.study.seed_noise import pooled, pooled_between

PUBLISHED, DESIGN = 0.025, 0.015  # deviations over seeds
TRAININGS, OTHERS = 20, 8  # of a race, and those of them that no network has for itself
WEAK, WIDELY = -0.15, 0.06  # lead and deviation of a weak design
LEADS = ((0.0, 0.0), (0.0, 0.0, 0.0), (0.02, 0.01), (0.025, 0.025), (0.0, 0.0, WEAK), (0.035, 0.01, WEAK))


def race(leads: Sequence[float], rng: np.random.Generator, equally: bool, trainings: int) -> list[Racer]:
    """How everybody stands at the end; the published network is the last."""
    standing = [Racer(f"design {i}", 1.0, False) for i in range(len(leads))] + [Racer("published", 2.0, True)]
    truth = [*((lead, WIDELY if lead == WEAK else DESIGN) for lead in leads), (0.0, PUBLISHED)]
    for _ in range(trainings):
        going = min(standing, key=lambda each: each.tried) if equally else next_racer(standing, trainings - OTHERS)
        if going is None:
            break
        place = standing.index(going)
        score = 0.6 + truth[place][0] + truth[place][1] * float(rng.standard_normal())
        standing[place] = replace(going, scores=(*going.scores, score), tried=going.tried + 1)
    return standing


def is_won(standing: Sequence[Racer], factor: float, over_all: bool = False) -> bool:
    """Whether the best design's lead is more than noise, the bound multiplied by `factor`."""
    *designs, published = standing
    best = max(designs, key=lambda each: each.mean)
    others = [each.scores for each in designs if each is not best]
    of_all = pooled([each.scores for each in standing])
    noise = of_all if over_all else pooled_between(best.scores, published.scores, others)
    assert noise is not None
    error = noise.std * (1 / len(best.scores) + 1 / len(published.scores)) ** 0.5
    return best.mean - published.mean > factor * choice_factor(len(designs), noise.degrees_of_freedom) * error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=2000)
    parser.add_argument("--trainings", type=int, default=TRAININGS)
    options = parser.parse_args()
    races, trainings = options.races, options.trainings
    told = ("won", "uncorrected", "over all", "trainings", "equally often")
    print(f"{'true leads, points':24}" + "".join(f"{name:>15}" for name in told))
    for leads in LEADS:
        rng = np.random.default_rng(0)
        raced = [race(leads, rng, False, trainings) for _ in range(races)]
        level = [race(leads, rng, True, trainings) for _ in range(races)]
        won, loose, even = (
            np.mean([is_won(each, factor) for each in ended])
            for ended, factor in ((raced, RACED), (raced, 1.0), (level, 1.0))
        )
        over_all = np.mean([is_won(each, RACED, over_all=True) for each in raced])
        used = np.mean([sum(racer.tried for racer in each) for each in raced])
        names = ", ".join(f"{100 * lead:g}" for lead in leads)
        print(f"{names:24}{won:15.3f}{loose:15.3f}{over_all:15.3f}{used:15.1f}{even:15.3f}")


if __name__ == "__main__":
    main()
