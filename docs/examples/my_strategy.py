"""A strategy of one's own: small changes of the most accurate designs so far.

nasbench search --strategy docs/examples/my_strategy.py:propose --strategy-option share=0.2
"""

from nasbench.strategies import Context, Proposals
from nasbench.values import Value


class Settings(Value):
    share: float = 0.25  # of the finished designs, the most accurate of which are changed


def propose(context: Context, n: int, settings: Settings):
    able = [one for one in context.finished if one.parent and context.space.contains(one.architecture)]
    able.sort(key=lambda one: one.losses)  # error first, then latency; lower is better
    best = able[: max(1, round(settings.share * len(able)))]
    proposals = Proposals(context)  # knows the budgets and what was tried

    def child():
        for _ in range(50 if len(able) >= 4 else 0):
            parent = best[int(context.rng.integers(len(best)))].architecture
            arch = context.space.mutate(parent, context.rng, 1)
            if proposals.accepts(arch):
                return arch
        return None  # a random design within the budgets

    return proposals.fill(n, child)
