"""What the lab's files held when they were imported: by that `lab5_runs` knows what a run is.

A file belongs to the lab if its last line is `note(__name__)`. Nothing here computes anything.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import pickle
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import NamedTuple

import cloudpickle


class File(NamedTuple):
    """What one of the lab's files held when it was imported."""

    source: str  # a hash of its syntax tree
    imports: set[str]  # the modules that it imports
    contents: dict  # what it and its classes hold, by name


class Registry(dict):
    """A dictionary to which one may add, by name, but whose parts stay as they are."""


FILES: dict[str, File] = globals().get("FILES", Registry())  # a reload changes nothing here
STDLIB = Path(sysconfig.get_path("stdlib"))
UNTRAINED = {"lab5_files", "lab5_runs", "lab5_figures"}  # are no part of what is trained


def note(module_name: str) -> None:
    """Declares that a module belongs to the lab, so that runs that use it are kept.

    The module calls `note(__name__)` in its last line. A run is known by the file's code and by the
    numbers and texts that the file holds; what else it reads from outside has to stay as it is.
    Raises RuntimeError if the file was edited while it was imported.
    """
    if module_name in {"__main__", *FILES}:  # a script or notebook, or noted before
        return
    module = sys.modules[module_name]
    source = Path(module.__file__).read_bytes()
    code = compile(source, module.__file__, "exec", dont_inherit=True)
    if signatures(sys._getframe(1).f_code) != signatures(code):
        raise RuntimeError(f"{module.__file__} was edited while it was imported: restart Python")
    FILES[module_name] = File(*syntax_of(source, module.__package__), contents_of(module))


def signatures(code: CodeType) -> set[tuple]:
    """Returns what tells apart the functions in a piece of compiled code, and the code itself."""
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    constants = tuple(part for part in code.co_consts if part not in inner)
    own = (code.co_name, code.co_firstlineno, code.co_code, code.co_names, constants)
    return {own}.union(*map(signatures, inner))


def syntax_of(source: bytes, package: str) -> tuple[str, set[str]]:
    """Returns a hash of a source without comments and docstrings, and the modules it imports."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    imports = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):  # from .a import b, where b may be a module, too
            relative = "." * node.level + (node.module or "")
            origin = importlib.util.resolve_name(relative, package)
            imports |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
    for node in nodes:
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imports


# ---- What a file holds ----
def held_by(module: ModuleType) -> Iterator[tuple[str, object]]:
    """Yields all that a module and its classes hold, each with its full name."""
    holders = [(module.__name__, module)]
    for path, holder in holders:  # which grow
        for name, value in list(vars(holder).items()):
            full_name = f"{path}.{name}"
            if isinstance(value, FunctionType) or not name.startswith("__"):
                yield full_name, value
            if isinstance(value, type) and f"{value.__module__}.{value.__qualname__}" == full_name:
                holders.append((full_name, value))


def copied(value):
    """Returns what tells later whether a value was changed: its bytes, or what makes a function."""
    if isinstance(value, classmethod | staticmethod | property):
        value = value.fget if isinstance(value, property) else value.__func__
    if isinstance(value, FunctionType):  # whose code may be replaced, as by %autoreload
        own = {name: part for name, part in vars(value).items() if not name.startswith("__")}
        return value, value.__code__, value.__defaults__, copied(own)
    if isinstance(value, Registry):
        return dict(value)
    if isinstance(value, type | ModuleType):
        return value
    # pickle first: a sweep changes the bytes of cloudpickle, which knows lambdas, too
    for pickler in (pickle, cloudpickle):
        with suppress(Exception):
            return pickler.dumps(value)
    return value  # what has no bytes, such as a lock, is known by its identity


def contents_of(module: ModuleType) -> dict:
    """Returns what a module and its classes hold, by name, each as `copied` returns it."""
    return {name: copied(value) for name, value in held_by(module)}


def is_same(then, now) -> bool:
    """Tells whether a name still holds what it held then; a registry may have grown."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(now.get(name) is part for name, part in then.items())
    return then is now or (isinstance(then, bytes | tuple) and then == now)


def names_set(module_names: Iterable[str]) -> list[str]:
    """Returns the names, in some of the lab's files, that don't hold what they held at import."""
    changed = set()
    for module_name in module_names:
        then, now = FILES[module_name].contents, contents_of(sys.modules[module_name])
        changed |= {name for name in then | now if not is_same(then.get(name), now.get(name))}
    changed -= {"lab5_runs.RUNS"}  # a folder of one's own changes no number
    return sorted(name for name in changed if name.rpartition(".")[0] not in changed)


def is_plain(value) -> bool:
    """Tells whether a value is a number, a text, nothing, or a tuple of such, so can name a run."""
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, int | float | str)


def settings_of(module_name: str) -> list[tuple[str, str]]:
    """Returns a file's numbers and texts, which it may have read, as from the environment."""
    held = held_by(sys.modules[module_name])
    return sorted((name, repr(value)) for name, value in held if is_plain(value))


# ---- What a file imports ----
def with_imports(module_names: set[str]) -> set[str]:
    """Returns these modules and all of the lab's files that they import, if they train."""
    imported = set().union(*(FILES[name].imports for name in module_names))
    more = (imported & FILES.keys()) - UNTRAINED - module_names
    return with_imports(module_names | more) if more else module_names


def own_file(module_name: str) -> str:
    """Returns the name of a module's file, or nothing if it is installed, or no file."""
    path = Path(getattr(sys.modules.get(module_name), "__file__", None) or "")
    if module_name not in sys.modules:  # it may be imported inside a function
        stem = module_name.replace(".", "/")
        files = [f"{stem}/__init__.py", f"{stem}.py"]
        paths = [Path(folder, file) for folder in sys.path for file in files]
        path = next(filter(Path.is_file, paths), path)
    is_installed = {"site-packages", "dist-packages"} & set(path.parts)
    is_installed = is_installed or path.is_relative_to(STDLIB)
    name = f"{path.parent.name}/__init__.py" if path.stem == "__init__" else path.name
    return name if path.suffix == ".py" and not is_installed else ""


def not_noted(module_name: str) -> set[str]:
    """Returns what a file uses of one's own that isn't noted, so may change unseen."""
    imported = set().union(*(FILES[name].imports for name in with_imports({module_name})))
    return {own_file(name) for name in imported - FILES.keys() - UNTRAINED} - {""}


def own_modules() -> list[str]:
    """Returns the imported modules that are neither installed nor noted, except a script."""
    others = list(sys.modules.keys() - FILES.keys() - {"__main__"})
    return [name for name in others if sys.modules[name] is not None and own_file(name)]


note(__name__)
