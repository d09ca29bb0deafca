"""What importing costs: the command line and the plain values must start without torch or ray."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from nasbench.files import read_toml

ROOT = Path(__file__).parent.parent
LIGHT = (
    *("arch.library", "space.shipped", "costs.budget", "study.trials", "study.study", "pareto", "report.results"),
    *("cli", "surrogate", "surrogate.prior", "training.recipe"),
)
HEAVY = {"torch", "ray", "optuna", "onnxruntime", "onnx", "fvcore", "matplotlib", "sklearn"}


def loaded_after(statement: str) -> set[str]:
    return loaded_by_each((statement,))[statement]


@functools.cache
def loaded_by_each(statements: tuple[str, ...]) -> dict[str, set[str]]:
    """Each statement -> what it loads that those before it have not, all in one process."""
    code = f"""
import sys
before = set()
for statement in {statements!r}:
    exec(statement)
    now = {{name.partition('.')[0] for name in sys.modules}}
    print(*sorted(now - before))
    before = now
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return dict(zip(statements, (set(line.split()) for line in shown.splitlines()), strict=True))


def imports(modules: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"import nasbench.{module}" for module in modules)


@pytest.mark.parametrize("statement", imports(LIGHT))
def test_values_import_neither_torch_nor_ray(statement: str) -> None:
    assert not loaded_by_each(imports(LIGHT))[statement] & HEAVY


FORMULAS = sorted(path.stem for path in (ROOT / "nasbench" / "blocks").glob("*_cost.py"))


COSTS = imports((*(f"blocks.{name}" for name in FORMULAS), "blocks.op", "costs.analytic"))


@pytest.mark.parametrize("statement", COSTS)
def test_what_a_network_costs_is_worked_out_without_torch(statement: str) -> None:
    assert not loaded_by_each(COSTS)[statement] & (HEAVY | {"numpy"})


@pytest.mark.exhaustive
def test_training_leaves_torch_s_compiler_alone() -> None:
    code = """
import sys, torch
from nasbench.proxy.muon import Muon
weight = torch.nn.Parameter(torch.ones(2, 2))
optimiser = Muon([{"params": [weight], "matrices": True}], 0.1, 0.9)
optimiser.zero_grad(set_to_none=True)
weight.sum().backward()
optimiser.step()
print(weight.min() < 1, "torch._dynamo" in sys.modules)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["tensor(True)", "False"]


def test_every_formula_stands_beside_its_module() -> None:
    blocks = ROOT / "nasbench" / "blocks"
    assert FORMULAS
    alone = [path.stem for path in blocks.glob("*.py") if not path.stem.endswith("_cost")]
    assert set(alone) - {"__init__", "op", "overwriting"} == {name.removesuffix("_cost") for name in FORMULAS}


def test_import_nasbench_is_bare() -> None:
    assert not loaded_after("import nasbench") & (HEAVY | {"numpy", "pydantic", "pandas", "rich"})


def test_describing_the_command_line_loads_no_library() -> None:
    assert not loaded_after("from nasbench.cli import parser; parser()") & (
        HEAVY | {"numpy", "pydantic", "pandas", "rich"}
    )


def test_every_public_name_loads() -> None:
    import nasbench

    for name in nasbench.__all__:
        assert getattr(nasbench, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'serch'; it has"):
        nasbench.serch  # noqa: B018


def test_no_module_hides_a_public_name() -> None:
    """`import nasbench.cost` would bind a module where users expect the function."""
    import nasbench

    stems = {path.parent.name if path.stem == "__init__" else path.stem for path in (ROOT / "nasbench").rglob("*.py")}
    assert not stems & {name for name in nasbench.__all__ if name.islower()}


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in names}


DISTRIBUTION = {
    "mlflow": "mlflow-skinny",
    "PIL": "pillow",
    "pydantic_core": "pydantic",  # which brings it, and pins it
    "sklearn": "scikit-learn",
    "tomli_w": "tomli-w",
    "typing_extensions": "typing-extensions",
}


def test_every_library_used_is_declared_and_pinned() -> None:
    used = set().union(*(imported(path) for path in (ROOT / "nasbench").rglob("*.py")))
    third_party = {DISTRIBUTION.get(name, name) for name in used - set(sys.stdlib_module_names) - {"nasbench"}}
    project = read_toml(ROOT / "pyproject.toml")["project"]
    extras = [
        line
        for name, lines in project["optional-dependencies"].items()
        if name not in ("dev", "docs", "release")
        for line in lines
    ]
    declared = {re.split(r"[\[<>=; ]", line)[0] for line in (*project["dependencies"], *extras)}
    assert third_party - {"tomllib"} <= declared, "imported, not declared"
    # tomli stands in for tomllib on Python 3.10; torch.onnx needs onnxscript.
    assert declared <= third_party | {"tomli", "onnxscript"}, "declared, not imported"
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for name in declared:
        assert re.search(rf"^{name}==", pins, re.MULTILINE), f"{name} has no pin in constraints.txt"
