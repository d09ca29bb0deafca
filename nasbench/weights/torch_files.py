"""Files that torch.save wrote, read as plain data: nothing in them is run, whatever classes they name."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from nasbench.errors import UserError

REASON = 120  # characters of torch's own reason in an error
TOLD = ("GLOBAL", "Unsupported operand", "Unsupported class", "Can only")  # in the line of it that says what was met
# What training scripts often leave beside the weights; the names in files of before torch 1.6 cannot be listed.
FREQUENT = (
    "argparse.Namespace",
    "collections.defaultdict",
    "builtins.list",
    "builtins.int",
    "builtins.float",
    "builtins.dict",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "pathlib.PosixPath",
)


class Inert:
    """Stands for an object that is no plain data and keeps its state to itself: it takes anything and does nothing."""

    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_torch(path: Path) -> Any:
    """The content of a torch file: tensors, numbers, text, lists and dicts; OSError where it cannot be opened.

    Objects of any class become dicts (of what such a class holds as a dict), or `Inert` where they cannot be that.
    """
    with open(path, "rb") as file:  # what cannot be opened is told from what torch makes of damaged bytes
        if not file.read(1):
            raise UserError(f"{path}: is empty (0 bytes), so it was not written to its end; give a whole file")
    names, error = _strange(path), Exception()
    for dicts in (True, False):
        stand_ins: list[Any] = [(_stand_in(name, dicts), name) for name in names]
        try:
            with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
                warnings.simplefilter("ignore")  # about protocols of pickle
                return torch.load(path, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as caught:  # what damaged or foreign bytes raise shares no base class
            error = caught
    raise UserError(
        f"{path}: not a file of plain tensors ({_reason(error)}); save the state dict alone, best as .safetensors"
    )


def class_of(content: Any) -> str:
    """The class that an object in the file says it is of."""
    return str(getattr(content, "class_name", type(content).__name__))


def _strange(path: Path) -> list[str]:
    """The classes and functions that the file names and torch does not know as harmless."""
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # a file of before torch 1.6, or none at all: torch.load says which
        return list(FREQUENT)


def _stand_in(name: str, dicts: bool) -> type:
    """A class to be called in place of the one of this name: its objects are empty dicts, or `Inert`."""

    def made(cls: type, *given: Any, **named: Any) -> OrderedDict[str, Any]:
        content: OrderedDict[str, Any] = OrderedDict()
        content.__dict__["class_name"] = name
        return content

    if dicts and not name.startswith("numpy."):  # arrays and scalars of numpy set their state from a tuple
        return type("Dict", (), {"__new__": made})
    return type("Inert", (Inert,), {"class_name": name})


def _reason(error: Exception) -> str:
    """The line of torch's message that says what it met, without its advice to trust the file."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if any(word in line for word in TOLD)] or lines or [type(error).__name__]
    text = "".join(character for character in told[0] if character.isprintable())
    return text if len(text) <= REASON else text[:REASON].rsplit(" ", 1)[0] + " ..."
