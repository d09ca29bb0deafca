"""How the rooms of the code hang together: downwards only, as docs/design.md draws it."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("rooms", ROOT / "docs" / "rooms.py")
assert SPEC is not None
assert SPEC.loader is not None
rooms = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(rooms)


def test_a_circle_is_found_where_there_is_one() -> None:
    assert set(rooms.circle({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == {"b", "c"}
    assert rooms.circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_floors_and_arrows_of_a_small_house() -> None:
    house = {"roof": {"hall", "cellar"}, "hall": {"cellar"}, "cellar": set()}
    assert rooms.floors(house) == [["cellar"], ["hall"], ["roof"]]
    assert set(rooms.needed(house)) == {("roof", "hall"), ("hall", "cellar")}


def test_no_module_imports_itself_by_a_detour() -> None:
    assert rooms.circle(rooms.module_imports()) == []


def test_no_room_imports_itself_by_a_detour() -> None:
    assert rooms.circle(rooms.room_imports()) == []


def test_the_page_names_every_room_and_no_other() -> None:
    """The table of rooms in docs/design.md, from the top floor to the ground, is what the code does."""
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    table = page.partition("## Rooms")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    graph = rooms.room_imports()
    assert sorted(named) == sorted(graph)
    for room, below in graph.items():
        for other in below:
            assert named.index(room) < named.index(other), f"{room} imports {other}, which stands above it in the table"


def test_each_walk_enters_no_room_twice_and_names_files_that_are_there() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    walks = page.partition("## Three walks")[2].partition("\n## ")[0].split("\n**")[1:]
    assert len(walks) == 3
    order = re.findall(r"^\| `(\w+)` \|", page.partition("## Rooms")[2].partition("\n## ")[0], re.MULTILINE)
    for walk in walks:
        steps = re.findall(r"^\| `(\w+)` \| (.*) \|$", walk, re.MULTILINE)
        visited = [room for room, _ in steps]
        assert visited == sorted(set(visited), key=order.index), walk.splitlines()[0]
        for room, text in steps:
            for name in re.findall(r"`(\w+\.py|\w+/)`", text):
                assert (ROOT / "nasbench" / room / name).exists(), f"{room}/{name}"


TYPED = ("study", "engine", "strategies", "space")  # rooms between which values travel with their types


def annotations(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    arguments = function.args
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
    found = [argument.annotation for argument in every if argument is not None]
    return [annotation for annotation in (*found, function.returns) if annotation is not None]


def test_no_signature_of_a_typed_room_says_any() -> None:
    for module, path in rooms.modules().items():
        if rooms.room_of(module) in TYPED:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    names = {
                        part.id for each in annotations(node) for part in ast.walk(each) if isinstance(part, ast.Name)
                    }
                    assert "Any" not in names, f"{module}.{node.name}"
