"""What searches are told of the shipped ladder: the standings of audits, put into the package.

    nasbench audit --seeds 2 --out results/audit
    python benchmarks/ship_audit.py results/audit [MORE ...]

Each folder is that of an audit; one of a fidelity and images that is told already takes its place.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from nasbench.study.standing import SHIPPED, Standing, shipped_standings


def main() -> None:
    known = {(each.fidelity, each.data_id): each for each in shipped_standings()}
    for folder in sys.argv[1:]:
        content = json.loads((Path(folder) / "audit.json").read_text(encoding="utf-8"))
        found = Standing.from_dict({key: content[key] for key in Standing.model_fields if key in content}, folder)
        known[found.fidelity, found.data_id] = found
    SHIPPED.write_text(json.dumps([each.to_dict() for each in known.values()], indent=1) + "\n", encoding="utf-8")
    print(f"{SHIPPED}: {len(known)} audits")


if __name__ == "__main__":
    main()
