"""Damage to files, drawn with a seed: bytes flipped and cut, lines moved, values by others of every kind."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import tomli_w

from nasbench.files import parse_toml

NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, 3, 7, 255, 65537, 10**6, 2**31, 2**63, 2**64, 10**20, 10**30, 10**400, -(10**20)),
    *(0.5, -0.5, 1e-9, 5e-324, 1e-308, 1e18, 1e308, -1e308, -0.0, math.inf, -math.inf, math.nan),
)
WORDS = (
    "",
    " ",
    "a",
    "../../outside",
    "/",
    ".",
    "\0",
    "\ufeff",
    "näme → ☃",
    "a\nb",
    "x" * 10_000,
    "nan",
    "1e400",
    "-1",
)
TYPES: tuple[Any, ...] = (None, True, False, [], {}, [[]], [{}], {"": ""}, [None], [0], ["a"], {"a": {"b": [1]}})
Draw = random.Random
Path = tuple[Any, ...]


def places(content: Any, path: Path = ()) -> Iterator[Path]:
    """Where values stand in `content`, tables and lists among them."""
    if path:
        yield path
    for key, value in _items(content):
        yield from places(value, (*path, key))


def _items(content: Any) -> list[tuple[Any, Any]]:
    if isinstance(content, dict):
        return list(content.items())
    return list(enumerate(content)) if isinstance(content, list) else []


def _inside(content: Any, path: Path) -> Any:
    for key in path:
        content = content[key]
    return content


def changed_at(content: Any, path: Path, value: Any) -> Any:
    """A copy of `content` with `value` at one place."""
    content = copy.deepcopy(content)
    _inside(content, path[:-1])[path[-1]] = value
    return content


def drawn(content: Any, rng: Draw) -> Path | None:
    """One place of `content`: the way down is drawn step by step, so that a long list has no more than its share."""
    path: list[Any] = []
    while items := _items(content):
        key, content = rng.choice(items)
        path.append(key)
        if rng.random() < 0.15:
            break
    return tuple(path) or None


def _other(value: Any, rng: Draw) -> Any:
    """Another value in the place of `value`: mostly of its own type, and beyond what that may be."""
    turn = rng.random()
    if isinstance(value, (int, float)) and not isinstance(value, bool) and turn < 0.8:
        near = (value + 1, value - 1, -value, value * 2, value // 2, value * 10**6, value + value, str(value))
        return rng.choice(NUMBERS if turn < 0.5 else near)
    if isinstance(value, str) and turn < 0.6:
        return rng.choice((*WORDS, value * 2, value[:-1], value.upper(), f"{value}\n", f"{value}/../x"))
    if isinstance(value, list) and value and turn < 0.6:
        return rng.choice((value[:-1], value[1:], value[::-1], value * 2, [value], value[:1] * 100, value[0]))
    return copy.deepcopy(rng.choice((*TYPES, *NUMBERS, *WORDS)))  # a list among them may be damaged next


def _drop(parent: Any, key: Any, rng: Draw) -> None:
    del parent[key]


def _replace(parent: Any, key: Any, rng: Draw) -> None:
    parent[key] = _other(parent[key], rng)


def _twice(parent: Any, key: Any, rng: Draw) -> None:
    if isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    else:
        parent[f"{key}_"] = copy.deepcopy(parent[key])


def _swap(parent: Any, key: Any, rng: Draw) -> None:
    other = rng.choice(_items(parent))[0]
    parent[key], parent[other] = parent[other], parent[key]


def _deepen(parent: Any, key: Any, rng: Draw) -> None:
    for _ in range(rng.choice((1, 20, 60))):
        parent[key] = rng.choice(([parent[key]], {"a": parent[key]}))


def _grow(parent: Any, key: Any, rng: Draw) -> None:
    value = parent[key]
    parent[key] = value * 300 if isinstance(value, list) and len(value) < 50 else _other(value, rng)


CHANGES: tuple[Callable[[Any, Any, Draw], None], ...] = (*(_replace,) * 8, _drop, _drop, _twice, _swap, _deepen, _grow)


def changed(content: Any, rng: Draw) -> Any:
    """A copy of `content` (dicts, lists, values) with one or a few of its values damaged."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        path = drawn(content, rng)
        if path is not None:
            rng.choice(CHANGES)(_inside(content, path[:-1]), path[-1], rng)
    return content


# --- texts of content


def json_text(content: Any) -> bytes:
    """JSON, with the words NaN and Infinity, which Python reads back."""
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")


def toml_text(content: Any) -> bytes:
    """TOML without what it has no word for."""
    return tomli_w.dumps(_tellable(content)).encode("utf-8", "surrogatepass")


def _tellable(content: Any) -> Any:
    if isinstance(content, dict):
        return {str(key): _tellable(value) for key, value in content.items() if value is not None}
    if isinstance(content, list):
        return [_tellable(value) for value in content if value is not None]
    return content


def typed(data: bytes, rng: Draw, form: str) -> bytes:
    """A file of TOML, JSON or JSON lines with values damaged, all else being well-formed."""
    text = data.decode()
    if form == "toml":
        return toml_text(changed(parse_toml(text, "file"), rng))
    if form == "json":
        return json_text(changed(json.loads(text), rng))
    lines = text.splitlines()
    for _ in range(rng.choice((1, 1, 2, 3))):
        number = rng.randrange(len(lines))
        lines[number] = json_text(changed(json.loads(lines[number]), rng)).decode("utf-8", "surrogatepass")
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")


# --- damage to bytes


def _flip(data: bytes, rng: Draw) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _cut(data: bytes, rng: Draw) -> bytes:
    return data[: rng.randrange(len(data))]


def _hole(data: bytes, rng: Draw) -> bytes:
    first = rng.randrange(len(data))
    return data[:first] + data[first + rng.randrange(1, 1000) :]


def _insert(data: bytes, rng: Draw) -> bytes:
    at, what = (
        rng.randrange(len(data)),
        (b"\0", b"\xff\xfe", b"[" * 3000, b'"', b"\n", b"9" * 5000, b"\x80", b"{", b"="),
    )
    return data[:at] + rng.choice(what) + data[at:]


def _zeros(data: bytes, rng: Draw) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + b"\0" * min(len(data) - at, rng.choice((1, 8, 512))) + data[at + 512 :]


def _lines(data: bytes, rng: Draw) -> bytes:
    lines = data.splitlines(keepends=True)
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    turn = rng.randrange(3)
    if turn == 0:
        lines[first], lines[second] = lines[second], lines[first]
    elif turn == 1:
        lines.insert(second, lines[first])
    else:
        del lines[first]
    return b"".join(lines)


def _encode(data: bytes, rng: Draw) -> bytes:
    turn, text = rng.randrange(5), data.decode("latin-1")
    if turn == 0:
        return b"\xef\xbb\xbf" + data
    return text.encode(("utf-16", "utf-32", "utf-16-be", "utf-7")[turn - 1], "replace")


def _whole(data: bytes, rng: Draw) -> bytes:
    return rng.choice(
        (b"", b"\0" * 100, b"[" * 50_000, b"{}", b"[]", b"null", b"\n\n", rng.randbytes(300), data + data)
    )


def _number(data: bytes, rng: Draw) -> bytes:
    """A number in the text by another, whatever it stands in."""
    digits = [i for i in range(len(data)) if data[i : i + 1].isdigit()]
    if not digits:
        return _flip(data, rng)
    first = last = rng.choice(digits)
    while last < len(data) and data[last : last + 1].isdigit():
        last += 1
    value = rng.choice(
        (b"0", b"-1", b"1e308", b"inf", b"nan", b"1e999", b"9" * 400, b"100000000000", b"0x" + b"f" * 40)
    )
    return data[:first] + value + data[last:]


BYTES = (_flip, _flip, _cut, _hole, _insert, _zeros, _lines, _encode, _whole, _number, _number)


def damaged(data: bytes, rng: Draw, form: str = "") -> bytes:
    """`data` damaged: of a `form` ("toml", "json", "lines") mostly in its values, else in its bytes."""
    if form and rng.random() < 0.75:
        with contextlib.suppress(RecursionError):  # of the writer, where a deep value was put into itself
            return typed(data, rng, form)
    for _ in range(rng.choice((1, 1, 2))):
        data = rng.choice(BYTES)(data, rng) if data else b"\0"
    return data
