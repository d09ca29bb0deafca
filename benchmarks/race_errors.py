"""How often a race between finalists ends with a winner that is none, and how often it finds one that is.

    python benchmarks/race_errors.py --races 2000

Networks of known accuracy and noise race as in a search (nasbench/engine/race.py): one published network whose seeds
scatter by 2.5 points, designs whose seeds scatter by 1.5, all no slower than it, 20 trainings. A winner is a design
whose lead the report calls more than noise. Beside it the same without correction for the looks after every training,
and a race in which everybody is trained equally often.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nasbench.engine.race import Racer, next_racer
from nasbench.report.noise import RACED, choice_factor
from nasbench.study.seed_noise import pooled

PUBLISHED, DESIGN = 0.025, 0.015  # deviations over seeds
TRAININGS, MOST = 20, 12
LEADS = ((0.0, 0.0), (0.0, 0.0, 0.0), (0.02, 0.01), (0.025, 0.025))


def race(leads: Sequence[float], rng: np.random.Generator, equally: bool) -> list[Racer]:
    """How everybody stands at the end; the published network is the last."""
    standing = [Racer(f"design {i}", 1.0, False) for i in range(len(leads))] + [Racer("published", 2.0, True)]
    truth = [*((lead, DESIGN) for lead in leads), (0.0, PUBLISHED)]
    for _ in range(TRAININGS):
        going = min(standing, key=lambda each: each.tried) if equally else next_racer(standing, MOST)
        if going is None:
            break
        place = standing.index(going)
        score = 0.6 + truth[place][0] + truth[place][1] * float(rng.standard_normal())
        standing[place] = replace(going, scores=(*going.scores, score), tried=going.tried + 1)
    return standing


def is_won(standing: Sequence[Racer], factor: float) -> bool:
    """Whether the best design's lead is more than noise, the bound multiplied by `factor`."""
    *designs, published = standing
    best, noise = max(designs, key=lambda each: each.mean), pooled([each.scores for each in standing])
    assert noise is not None
    error = noise.std * (1 / len(best.scores) + 1 / len(published.scores)) ** 0.5
    return best.mean - published.mean > factor * choice_factor(len(designs), noise.degrees_of_freedom) * error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=2000)
    races = parser.parse_args().races
    print(f"{'true leads, points':24}{'won':>8}{'uncorrected':>13}{'trainings':>11}{'equally often':>15}")
    for leads in LEADS:
        rng = np.random.default_rng(0)
        raced = [race(leads, rng, equally=False) for _ in range(races)]
        level = [race(leads, rng, equally=True) for _ in range(races)]
        won, loose, even = (
            np.mean([is_won(each, factor) for each in ended])
            for ended, factor in ((raced, RACED), (raced, 1.0), (level, 1.0))
        )
        used = np.mean([sum(racer.tried for racer in each) for each in raced])
        told = ", ".join(f"{100 * lead:g}" for lead in leads)
        print(f"{told:24}{won:8.3f}{loose:13.3f}{used:11.1f}{even:15.3f}")


if __name__ == "__main__":
    main()
