"""Spaces by address: a class in a Python file or module that the user names."""

import copyreg
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from predictnas.errors import InputError
from predictnas.spaces.base import Space

__all__ = ["space_at"]


def space_at(address: str) -> Space:
    """Return the space that ``FILE.py:CLASS`` or ``package.module:CLASS`` names.

    The file is run, as Python would run it: name your own. Read no address from data.

    Parameters
    ----------
    address
        A path that ends in ``.py``, or a module that can be imported; a colon; the name of a class
        there.

    Raises
    ------
    InputError
        If there is no such file, module or class, its code fails, or the class is not that of a
        space.
    """
    place, _, name = address.rpartition(":")
    from_file = place.endswith(".py")
    module = _run(Path(place)) if from_file else _import(place)
    space = _instance(place, module, name)
    if from_file:
        # Files have no name to import them by: other processes run them again.
        absolute = f"{Path(place).resolve()}:{name}"
        copyreg.pickle(type(space), lambda _: (space_at, (absolute,)))
    return space


def _run(path: Path) -> ModuleType:
    """Return the module of a file, run anew."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; name one as FILE.py:CLASS")
    path = path.resolve()
    # A name of its own for every file: modules of one name would replace each other.
    name = f"predictnas_space_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # the file ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    # As for a script, what stands beside the file can be imported.
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise _failed(path, error) from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _import(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise InputError(
            f"expected a file or module before the class, found {name!r}; "
            "write FILE.py:CLASS or package.module:CLASS"
        )
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise InputError(
                f"{name}: no such module; install it, put its folder on PYTHONPATH, or name its "
                "file as FILE.py:CLASS"
            ) from None
        raise _failed(name, error) from error
    except Exception as error:
        raise _failed(name, error) from error


def _failed(place: Path | str, error: Exception) -> InputError:
    """Return the error that tells in one line why the code of a user failed."""
    if isinstance(error, InputError):
        return InputError(f"{place}: {error}")
    first = (str(error).strip().splitlines() or [""])[0]
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(place)]
    where = f" in line {lines[-1]}" if lines else ""
    return InputError(f"{place}: failed{where} with {type(error).__name__}: {first}; mend it")


def _instance(place: str, module: ModuleType, name: str) -> Space:
    """Return an instance of the class `name` of a module, having checked that it is a space."""
    kind: Any = getattr(module, name, None)
    if not (inspect.isclass(kind) and issubclass(kind, Space)):
        spaces = [
            each
            for each, value in vars(module).items()
            if inspect.isclass(value)
            and issubclass(value, Space)
            and value.__module__ == module.__name__
        ]
        found = "nothing" if kind is None else type(kind).__name__
        raise InputError(
            f"{place}: expected a subclass of Space by the name {name!r}, found {found}; "
            + (f"choose from: {', '.join(spaces)}" if spaces else "the file defines none")
        )
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    missing += [each for each in ("name", "choices") if not hasattr(kind, each)]
    if missing:
        raise InputError(f"{place}: {name} lacks {', '.join(missing)}; define them in the class")
    try:
        space: Space = kind()
    except Exception as error:
        raise _failed(place, error) from error
    return space
