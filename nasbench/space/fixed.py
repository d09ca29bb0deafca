"""Which shipped networks are members of a space and keep the budgets on cost."""

from __future__ import annotations

from collections.abc import Sequence

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points, named_family
from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget, on_cost, total_violation
from nasbench.space.search_space import SearchSpace


def published_members(space: SearchSpace, budgets: Sequence[Budget], num_classes: int) -> dict[str, Architecture]:
    """{id: network} of the shipped networks that are in the space and meet the budgets on cost.

    The largest of each family, families in turn, then the second largest of each, and so on.
    """
    limits = on_cost(budgets)
    families: dict[str, list[tuple[int, Architecture]]] = {}
    for name, shipped in fixed_points().items():
        arch = shipped.with_in_channels(space.in_channels)
        costs = cost(arch, num_classes)
        if space.contains(arch) and total_violation(limits, costs.to_dict()) == 0:
            families.setdefault(named_family(name), []).append((costs.macs, arch))
    queues = [sorted(queue, key=lambda item: -item[0]) for queue in families.values()]
    ordered = [
        queue[turn][1] for turn in range(max(map(len, queues), default=0)) for queue in queues if turn < len(queue)
    ]
    return {arch.id: arch for arch in ordered}
