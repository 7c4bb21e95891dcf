"""The shapes a dataset version is written in: one file each, and this directory is the registry.

A format is a module with

    KINDS: the dataset kinds it can write
    def write(content: Content) -> dict[str, list[str]]

which writes below `content.out` and returns split -> data files, relative to it. Its docstring's
first line says who reads the shape.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from types import ModuleType

from factory.errors import UserError


def formats() -> dict[str, str]:
    """Name -> what it is, of every format."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return {name: (load(name).__doc__ or "").splitlines()[0] for name in names}


def load(name: str) -> ModuleType:
    """The format of that name.

    Raises:
        UserError: when there is none; it names the nearest.
    """
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"
        raise UserError(
            f"no export format {name!r}; {hint}", next=f"prefactory export --format {names[0]}"
        )
    return importlib.import_module(f"{__name__}.{name}")
