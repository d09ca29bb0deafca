"""Where files lie and how they are read and written whole."""

from __future__ import annotations

import codecs
import contextlib
import difflib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import platformdirs
import tomli_w

from nasbench.errors import UserError, shown, visible

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

log = logging.getLogger("nasbench.files")

URI = "file:///"  # how a path that is not UTF-8 is stored
HUB = "hf"  # the name before a data set of the Hugging Face hub
BYTE_ORDER_MARK = "\ufeff"  # which editors on Windows begin a file with
STEM_CHARACTERS = 120
# How a file's text is encoded, by what it begins with; UTF-32's mark begins like UTF-16's.
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
SHOWN_CHARACTERS = 200  # of a path in an error
SHOWN = 6  # names in an error where none is near


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """TOML text as a dict; an error names `source` and the line."""
    try:
        return tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
    except RecursionError:
        raise UserError(f"{source}: not valid TOML: nested too deeply; compare with a file in search_spaces/") from None
    except ValueError as error:  # also of whole numbers with thousands of digits
        raise UserError(f"{source}: not valid TOML: {error}; compare with a file in search_spaces/") from None


def read_toml(path: Path | str) -> dict[str, Any]:
    return parse_toml(read_text(path, "TOML"), str(path))


def read_text(path: Path | str, kind: str) -> str:
    """The text of a file of this kind: UTF-8, or UTF-16 and UTF-32 where a byte order mark says so."""
    try:
        content = Path(path).read_bytes()
        return content.decode(next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; give the path of a {kind} file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: cannot be read: not UTF-8 text; save it as UTF-8") from None


def require_new_or_empty(folder: Path, file: str) -> None:
    """Raise UserError where `folder` holds anything, hidden files apart; `file` is what would make it one of ours."""
    if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise UserError(f"{folder}: holds files, but no {file}; give a new or empty folder with --out")


def write_toml(path: Path | str, content: Mapping[str, Any]) -> None:
    """Text of several lines is written on several lines; carriage returns would not survive that."""
    text = tomli_w.dumps(content)
    if "\\n" in text and "\\r" not in text:
        text = tomli_w.dumps(content, multiline_strings=True)
    write_atomic(path, text)


def write_atomic(path: Path | str, content: str | bytes) -> None:
    """Write `path` so that a reader sees the old file or the whole new one, also after a crash."""
    path = Path(path)
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with errors_naming(path):
        _replace(path, data)


@contextlib.contextmanager
def errors_naming(path: Path) -> Iterator[None]:
    """Within, an error of the system names `path`, not the temporary file by whose way it is written."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def _replace(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def cache_dir() -> Path:
    """The user's cache folder, made on demand; NASBENCH_CACHE overrides it.

    Where the home cannot be written to, a folder of this user among the temporary files, with a warning.
    """
    named = os.environ.get("NASBENCH_CACHE")
    path = Path(named or platformdirs.user_cache_dir("nasbench", appauthor=False))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if named:
            raise UserError(
                f"NASBENCH_CACHE={named}: cannot be made: {error.strerror}; name a folder that you may write to"
            ) from None
        return _temporary_cache(path)
    return path if named or os.access(path, os.W_OK) else _temporary_cache(path)


@lru_cache(maxsize=4)
def _temporary_cache(instead_of: Path) -> Path:
    """A folder that only this user can enter, the same for all processes until the machine forgets it."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    try:
        path = Path(tempfile.gettempdir()) / f"nasbench-{user}"
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"neither {instead_of} nor a folder for temporary files can be written to ({error.strerror}); set "
            "NASBENCH_CACHE to a folder that can"
        ) from None
    if path.is_symlink() or (hasattr(os, "getuid") and path.stat().st_uid != user):
        raise UserError(f"{path}: belongs to somebody else; set NASBENCH_CACHE to a folder that you may write to")
    log.warning("%s cannot be written to; using %s (NASBENCH_CACHE names another)", instead_of, path)
    return path


def file_stem(name: str, otherwise: str) -> str:
    """`name` as a file's name without suffix, which lies nowhere but in its folder; `otherwise` if nothing is left."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:STEM_CHARACTERS] or otherwise


def data_spec(text: str, names: Collection[str]) -> str:
    """What `--data` says, in the form that is stored: of a folder, or an archive after `name:`, the absolute path.

    One of `names` stays as it is.
    """
    if not text.strip():
        raise UserError(f"data {text!r} is empty; name a data set ({', '.join(names)}) or a folder")
    name, _, path = text.partition(":")
    if name in names:
        by_name = name == HUB and not data_path(path).exists()  # OWNER/NAME there
        return f"{name}:{path if by_name else _stored(path)}" if path else name
    return _stored(text)


def _stored(path: str) -> str:
    """An absolute path as UTF-8 text: one that is none is written as a file URI, which `data_path` reads."""
    whole = data_path(path).resolve()
    return str(whole) if is_utf8(str(whole)) else whole.as_uri()


def data_path(text: str) -> Path:
    """The folder or archive that `--data` or a study names: a path, `~` allowed, or a file URI."""
    whole = os.fsdecode(unquote_to_bytes(text.removeprefix("file://"))) if text.startswith(URI) else text
    try:
        path = Path(whole) if text.startswith(URI) else Path(whole).expanduser()
        path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # too long, of no user, with a zero byte
        reason = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
        raise UserError(f"data {shortened(text)!r} is no path: {reason}; give a folder that is there") from None
    if "\0" in whole:
        raise UserError(f"data {shortened(text)!r} is no path: it has a zero byte; give a folder that is there")
    return path


def shortened(text: str) -> str:
    """Text as an error shows it."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def is_utf8(text: str) -> bool:
    """Whether text can be written as UTF-8; names of files that are other bytes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def readable(name: str) -> str:
    """A name, made of a file's, with `?` for what is not UTF-8 or no text in it."""
    return visible(name.encode(errors="replace").decode())


def data_dir(name: str) -> Path:
    """A shipped data folder: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    for path in (package / name, package.parent / name):
        if path.is_dir():
            return path
    raise UserError(f"the shipped folder {name!r} is missing from this installation; reinstall nasbench")


def named_file(name_or_path: str | Path, shipped: Mapping[str, Path], what: str) -> Path:
    """The file shipped under this name, or a user's own by path; a UserError says which names are near."""
    text = str(name_or_path)
    if text in shipped:
        return shipped[text]
    path = Path(text)
    if path.suffix in (".toml", ".json") or os.path.exists(text):  # False where the name is none
        return path
    near = difflib.get_close_matches(text, shipped, n=4, cutoff=0.5) or list(shipped)[:SHOWN]
    more = "" if len(near) == len(shipped) else f" ({len(shipped)} are shipped; `nasbench list` names them)"
    raise UserError(
        f"unknown {what} {shown(text)}; give the path of a .toml file, or a name such as {', '.join(near)}{more}"
    )
