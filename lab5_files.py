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
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from types import CodeType, FunctionType, ModuleType
from typing import NamedTuple

import cloudpickle
from joblib.hashing import NumpyHasher


class File(NamedTuple):
    """What one of the lab's files held when it was imported."""

    source: str  # a hash of its syntax tree
    imports: set[str]  # the modules that it imports
    imported: set[str]  # the names that it gets by that, and nothing else sets
    contents: dict  # what it and its classes hold, by name


class Registry(dict):
    """A dictionary to which one may add, by name, but whose parts stay as they are."""


FILES: dict[str, File] = globals().get("FILES", Registry())  # a reload changes nothing here
STDLIB = Path(sysconfig.get_path("stdlib"))
UNTRAINED = {"lab5_files", "lab5_runs", "lab5_figures"}  # are no part of what is trained


def note(module_name: str) -> None:
    """Declares that a module belongs to the lab, so that runs that use it are kept.

    The module calls `note(__name__)` in its last line. Raises RuntimeError if its file was edited
    while it was imported.
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


def syntax_of(source: bytes, package: str) -> tuple[str, set[str], set[str]]:
    """Returns a hash of what a source computes, the modules it imports, and the names of imports.

    The hash is that of the syntax tree, without comments and docstrings.
    """
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    statements = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {alias.asname or alias.name for node in statements for alias in node.names}
    # a name that is also set, or defined, may hold another thing
    imported -= {
        node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    imported -= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
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
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imports, imported


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


def more_of(function: FunctionType) -> tuple[list, list]:
    """Returns what was set on a function, and the numbers, texts and tuples that it encloses."""
    attributes = [item for item in vars(function).items() if not item[0].startswith("__")]
    enclosed = [cell.cell_contents for cell in function.__closure__ or ()]
    return attributes, [part for part in enclosed if isinstance(part, int | float | str | tuple)]


def copied(value):
    """Returns what tells later whether a value was changed: its bytes, or what makes a function."""
    if isinstance(value, classmethod | staticmethod | property):
        value = value.fget if isinstance(value, property) else value.__func__
    if isinstance(value, FunctionType):  # whose code may be replaced, as by %autoreload
        attributes, enclosed = more_of(value)
        attributes = [(name, copied(part)) for name, part in attributes]
        return value, value.__code__, value.__defaults__, attributes, enclosed
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


def names_set() -> list[str]:
    """Returns the names, in the lab's files, that no longer hold what they held at import."""
    changed = set()
    for module_name, (*_, then) in FILES.items():
        now = contents_of(sys.modules[module_name])
        changed |= {name for name in then | now if not is_same(then.get(name), now.get(name))}
    changed -= {"lab5_runs.RUNS"}  # a folder of one's own changes no number
    return sorted(name for name in changed if name.rpartition(".")[0] not in changed)


class Hasher(NumpyHasher):
    """Makes the hashes of `joblib.hash`, but the same in each Python, and of any function."""

    def save(self, value):
        """Adds a value to the hash."""
        if hasattr(type(value), "detach"):  # a tensor, whose bytes hold an address
            value = value.detach().cpu().numpy()
        if isinstance(value, FunctionType):  # whose code is in the syntax tree of its file
            name = f"{value.__module__}.{value.__qualname__}"
            value = name, value.__defaults__, value.__kwdefaults__
        super().save(set(value) if isinstance(value, frozenset) else value)


def settings_of(module_name: str) -> list[tuple[str, str]]:
    """Returns hashes of a file's settings, which it may have read, as from the environment.

    These are all values that it holds but paths, registries, and functions and classes that it
    imports (in a notebook tqdm's bar is another class); of a function of its own, its name, its
    defaults and attributes, and the numbers, texts and tuples that it encloses.
    """
    settings = []
    imported = {f"{module_name}.{name}" for name in FILES[module_name].imported}
    for name, value in held_by(sys.modules[module_name]):
        is_imported = name in imported and callable(value)
        if is_imported or isinstance(value, ModuleType | PurePath | Registry):
            continue
        parts = [value]
        if isinstance(value, FunctionType):
            parts += more_of(value)
        for part in parts:
            with suppress(Exception):  # what has no bytes, such as a lock, is no setting
                settings.append((name, Hasher("md5").hash(part)))
    return sorted(settings)


# ---- What a file imports ----
def with_imports(module_names: set[str]) -> set[str]:
    """Returns these modules and all of the lab's files that they import, if they train."""
    imported = set().union(*(FILES[name].imports for name in module_names))
    more = (imported & FILES.keys()) - UNTRAINED - module_names
    return with_imports(module_names | more) if more else module_names


def own_file(module_name: str) -> str:
    """Returns the name of a module's file, or nothing if it is installed, or no file."""
    module = sys.modules.get(module_name)
    if module is None and "." not in module_name:  # it may be imported inside a function
        module = importlib.util.find_spec(module_name)
    path = Path(getattr(module, "__file__", None) or getattr(module, "origin", None) or "")
    is_installed = {"site-packages", "dist-packages"} & set(path.parts)
    is_installed = is_installed or path.is_relative_to(STDLIB)
    return path.name if path.suffix == ".py" and not is_installed else ""


def not_noted(module_name: str) -> set[str]:
    """Returns what a file uses of one's own that isn't noted, so may change unseen."""
    imported = set().union(*(FILES[name].imports for name in with_imports({module_name})))
    return {own_file(name) for name in imported - FILES.keys() - UNTRAINED} - {""}


def own_modules() -> list[str]:
    """Returns the imported modules that are neither installed nor noted, except a script."""
    others = list(sys.modules.keys() - FILES.keys() - {"__main__"})
    return [name for name in others if sys.modules[name] is not None and own_file(name)]


note(__name__)
