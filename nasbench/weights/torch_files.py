"""Files that torch.save wrote, read as plain data: nothing in them is run, whatever classes they name."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from nasbench.errors import UserError

MAX_REASON = 120  # characters of torch's own message in an error
REASON_WORDS = ("GLOBAL", "Unsupported operand", "Unsupported class", "Can only")  # in the line that has the reason
# Classes that training scripts often save beside the weights, for files from before torch 1.6: those that such a file
# names cannot be listed.
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
    """Replaces an object that is not plain data: accepts any arguments and state, and keeps nothing."""

    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_torch(path: Path) -> Any:
    """The content of a torch file: tensors, numbers, text, lists and dicts.

    Objects of other classes become dicts, with the items that a subclass of dict has, or `Inert` where that fails.
    OSError where the file cannot be opened, UserError where it holds no plain data.
    """
    with open(path, "rb") as file:  # OSError here, not what torch raises for damaged bytes
        if not file.read(1):
            raise UserError(f"{path}: is empty (0 bytes), so it was not written to its end; give a whole file")
    names, error = _unsafe_classes(path), Exception()
    for dicts in (True, False):
        stand_ins: list[Any] = [(_stand_in(name, dicts), name) for name in names]
        try:
            with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
                warnings.simplefilter("ignore")  # about pickle protocols
                return torch.load(path, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as caught:  # errors of damaged files share no base class
            error = caught
    raise UserError(
        f"{path}: not a file of plain tensors ({_reason(error)}); save the state dict alone, best as .safetensors"
    )


def class_of(content: Any) -> str:
    """The name of an object's class in the file that it was read from."""
    return str(getattr(content, "class_name", type(content).__name__))


def _unsafe_classes(path: Path) -> list[str]:
    """The classes and functions in the file that torch does not list as safe."""
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # from before torch 1.6, or no torch file at all: torch.load finds out
        return list(FREQUENT)


def _stand_in(name: str, dicts: bool) -> type:
    """A class to use in place of the one of this name: its objects are empty dicts, or `Inert`."""

    def made(cls: type, *given: Any, **named: Any) -> OrderedDict[str, Any]:
        content: OrderedDict[str, Any] = OrderedDict()
        content.__dict__["class_name"] = name
        return content

    if dicts and not name.startswith("numpy."):  # arrays and scalars of numpy set their state from a tuple
        return type("Dict", (), {"__new__": made})
    return type("Inert", (Inert,), {"class_name": name})


def _reason(error: Exception) -> str:
    """The line of torch's message that has the reason, without its advice to trust the file."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if any(word in line for word in REASON_WORDS)] or lines or [type(error).__name__]
    text = "".join(character for character in told[0] if character.isprintable())
    return text if len(text) <= MAX_REASON else text[:MAX_REASON].rsplit(" ", 1)[0] + " ..."
