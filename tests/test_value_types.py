"""Every class of values that files are read into: round trip, frozen, unknown keys, numbers of any size."""

from __future__ import annotations

import functools
import importlib
import json
import math
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from damage import changed_at, places
from fuzz_kinds import collection_folder, profile_folder, scaling_folder, search_folder, table_row
from pydantic import ValidationError

import nasbench
from nasbench.arch.library import load
from nasbench.costs.analytic import cost
from nasbench.errors import UserError
from nasbench.files import parse_toml
from nasbench.strategies.evolution import EvolutionSettings
from nasbench.strategies.local import LocalSettings
from nasbench.strategies.model import ModelSettings
from nasbench.strategies.nsga2 import Nsga2Settings
from nasbench.strategies.optuna_settings import OptunaGeneticSettings, OptunaSettings
from nasbench.strategies.regularised import RegularisedSettings
from nasbench.strategies.warm import WarmSettings
from nasbench.study.fidelity import load_recipe
from nasbench.study.runner import RunnerSpec
from nasbench.table.rows import TableRow
from nasbench.training.recipe import load_training_recipe
from nasbench.values import Value

BEYOND = (10**400, -(10**400), 10**31, 1e308, -1e308, math.inf, -math.inf, math.nan)


def _profile() -> dict[str, Any]:
    return json.loads(profile_folder()["own.json"])


def _record(kind: str) -> dict[str, Any]:
    lines = map(json.loads, search_folder()["trials.jsonl"].decode().splitlines())
    return next(line for line in lines if line["kind"] == kind)


def _only(content: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: content[name] for name in names}


def _note(name: str) -> dict[str, Any]:
    lines = map(json.loads, search_folder()["trials.jsonl"].decode().splitlines())
    return next(line["content"] for line in lines if line.get("name") == name)


def _stage() -> dict[str, Any]:
    return load("mobilevit_s").to_dict()["stages"][3]


OUTCOME = ("state", "metrics", "reason", "seconds", "worker")
SUBMITTED = (
    *("key", "architecture_id", "architecture", "fidelity", "seed", "data", "split", "origin", "submitted_at"),
)
FIGURE = {"tau": 0.5, "low": 0.25, "high": 0.75, "pairs": 36}
SCORED_AS = {"network": "emo_1m", "fidelity": "f", "data_id": "d", "proxy_id": "p"}
# The content of one value of each class: a class without is a class untested.
CONTENT: dict[str, Callable[[], dict[str, Any]]] = {
    "About": lambda: {
        "classes": ["cat", "dog"],
        "normalisation": {"mean": [0.5], "std": [0.25]},
        "figures": {"test_accuracy": 0.5, "test_images": 100},
        "provenance": {"data": "pets", "balanced": True},
    },
    "Accuracy": lambda: {"value": 75.1, "resolution": 224, "epochs": 300, "source": "a table"},
    "Architecture": lambda: load("fastvit_t8").to_dict(),
    "Bench": lambda: {
        **{"on": "mine.csv", "problem": "mine", "table": "0123456789abcdef", "objectives": ["-accuracy"]},
        **{"evaluations": 200, "noise": False, "fields": ["layer*"]},
    },
    "Collection": lambda: parse_toml(collection_folder()["collection.toml"].decode(), "file"),
    "CostRecord": lambda: cost(load("emo_1m")).to_dict(),
    "DeviceProfile": _profile,
    "WarmSettings": lambda: WarmSettings().to_dict(),
    "EvolutionSettings": lambda: EvolutionSettings().to_dict(),
    "Fidelity": lambda: load_recipe().at(100).to_dict(),
    "Figure": lambda: dict(FIGURE),
    "ImageNormalisation": lambda: {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.2, 0.3]},
    "Head": lambda: {"kind": "decoder", "expansion": 2.0, "width": 64, "depth": 2, "heads": 4},
    "Ladder": lambda: {"rungs": [{"name": "a", "trials": 2, "fidelity": load_recipe().at(100).model_dump()}]},
    "LatencyNote": lambda: _note("latency"),
    "ModelSettings": lambda: ModelSettings().to_dict(),
    "OriginRecord": lambda: _record("submitted")["origin"],
    "OutcomeRecord": lambda: _only(_record("finished"), *OUTCOME),
    "PromotionNote": lambda: _note("promotion"),
    "Protocol": lambda: _profile()["protocol"],
    "LocalSettings": lambda: LocalSettings().to_dict(),
    "Nsga2Settings": lambda: Nsga2Settings().to_dict(),
    "OptunaGeneticSettings": lambda: OptunaGeneticSettings().to_dict(),
    "OptunaSettings": lambda: OptunaSettings().to_dict(),
    "OwnSettings": lambda: {"name": "mine.py:propose", "text": "def propose(): ...", "options": {"share": 0.5}},
    "TableDescription": lambda: {
        **{"name": "mine", "file": "mine.csv", "fields": ["layer*"], "objectives": ["-accuracy", "macs"]},
        **{"where": {"epochs": 12}, "known": ["macs"]},
    },
    "RandomSettings": dict,
    "Recipe": lambda: load_recipe().to_dict(),
    "Record": lambda: _profile()["records"][0],
    "Reference": lambda: _profile()["reference"],
    "LongNote": lambda: {"table": "metablock", "times": 10, "expected": {"a" * 16: (0.8, 0.01)}},
    "EndNote": lambda: {"trials": 12},
    "RejectionNote": lambda: {"drawn": 9, "accepted": 4, "rejected": {"budget 1GFLOP": 5}},
    "Rung": lambda: {"name": "a", "trials": 2, "fidelity": load_recipe().at(100).model_dump()},
    "RegularisedSettings": lambda: RegularisedSettings().to_dict(),
    "Outside": lambda: {"strategy": "peer", "seed": 3, "designs": ["a", "b"], "picks": [0], "seconds": 0.5},
    "Run": lambda: {
        **{"strategy": "random", "seed": 3, "designs": ["a", "b"], "seen": [[1.0], [2.0]], "truth": [[1.5], [2.5]]},
        **{"picks": [0], "seconds": 0.5},
    },
    "RunnerSpec": lambda: RunnerSpec(workers=2, gpus_per_trial=0.5).to_dict(),
    "ScalingStudy": lambda: parse_toml(scaling_folder()["scaling.toml"].decode(), "file"),
    "SpaceRecord": lambda: parse_toml(search_folder()["study.toml"].decode(), "file")["space"],
    "ScoreRow": lambda: {**SCORED_AS, "samples": 4800, "seed": 11, "macs": 10**9, "params": 10**6, "accuracy": 0.5},
    "Stage": _stage,
    "Standing": lambda: {
        **{"fidelity": "f", "recipe": "proxy", "samples": 4800, "data": "d", "data_id": "e", "networks": 9},
        **{"families": 3, "seeds": 2, "truth": "published", "times": 10, "figures": {"published": dict(FIGURE)}},
    },
    "Stem": lambda: {"kind": "conv", "channels": 16, "stride": 2},
    "Study": lambda: parse_toml(search_folder()["study.toml"].decode(), "file"),
    "SubmittedRecord": lambda: _only(_record("submitted"), *SUBMITTED),
    "TableRow": lambda: table_row().to_dict(),
    "TrainingRecipe": lambda: load_training_recipe("mobile").to_dict(),
    "_Finished": lambda: {"finished_at": 1e9},
    "_Measured": lambda: _only(_profile(), "device", "num_classes", "records"),
}
# What these hold is checked where it is used: it is the content of other values, or words of a runtime.
HELD = {"content", "architecture", "designs", "made", "worker", "options", "fidelity"}


def _classes(base: type[Value]) -> Iterator[type[Value]]:
    for child in base.__subclasses__():
        yield child
        yield from _classes(child)


@functools.cache
def every_class() -> dict[str, type[Value]]:
    """Name -> class, of all modules."""
    for module in pkgutil.walk_packages(nasbench.__path__, "nasbench."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = {kind for kind in _classes(Value) if kind.__module__.startswith("nasbench.")}
    return {kind.__name__: kind for kind in found}


@pytest.fixture(params=sorted(CONTENT))
def kind(request: pytest.FixtureRequest) -> type[Value]:
    return every_class()[request.param]


def test_every_class_has_content() -> None:
    assert set(every_class()) == set(CONTENT)


def test_round_trip(kind: type[Value]) -> None:
    value = kind.from_dict(CONTENT[kind.__name__](), "file")
    again = kind.from_dict(json.loads(json.dumps(value.to_dict(), allow_nan=False)), "file")
    assert again == value
    assert again.to_dict() == value.to_dict()
    assert value.replace() == value


def test_values_are_frozen(kind: type[Value]) -> None:
    value = kind.from_dict(CONTENT[kind.__name__](), "file")
    for name in [*kind.model_fields, "another"]:
        with pytest.raises((ValidationError, AttributeError)):
            setattr(value, name, None)


def test_a_key_that_is_not_known_is_named(kind: type[Value]) -> None:
    with pytest.raises(UserError, match=r"file: .*unknown key 'surprise'") as caught:
        kind.from_dict({**CONTENT[kind.__name__](), "surprise": 1}, "file")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["Stem", "Stage", "Head", "Recipe", "TrainingRecipe", "RunnerSpec", "DeviceProfile"])
def test_numbers_are_what_they_are_written_as(name: str) -> None:
    """TOML and JSON tell them from text and from truth values; a whole number may have a point."""
    kind, content = every_class()[name], CONTENT[name]()
    for path in _numbers(content):
        number = functools.reduce(lambda value, key: value[key], path, content)
        for other in (str(number), True):
            with pytest.raises(UserError, match=r" = .*: must be a (whole )?number"):
                kind.from_dict(changed_at(content, path, other), "file")
        if isinstance(number, int) and number < 2**53:
            kind.from_dict(changed_at(content, path, float(number)), "file")


def test_a_table_is_read_from_cells_of_text() -> None:
    row = TableRow.from_dict(table_row().to_dict())
    assert TableRow.from_dict({name: str(value) for name, value in row.to_dict().items()}) == row


def test_numbers_of_any_size(kind: type[Value]) -> None:
    content = CONTENT[kind.__name__]()
    for path in _numbers(content):
        for number in BEYOND:
            with pytest.raises(UserError) as caught:
                kind.from_dict(changed_at(content, path, number), "file")
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 1000


def _numbers(content: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Where numbers stand, one of each kind of place: of long lists and tables of figures the first."""
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for path in places(content):
        value = content
        for key in path:
            value = value[key]
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not HELD & set(path[:-1]):
            shape = tuple("#" if isinstance(key, int) else key for key in path)
            found.setdefault(shape, path)
    return list(found.values())
