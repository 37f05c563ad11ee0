"""Loading the user's file, and finding the durable functions in it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType

from durably.app.settings import functions_by_name
from durably.cli.errors import Trouble, places_of
from durably.errors import ValidationError
from durably.handler import DurableFunction
from durably.words import did_you_mean


def load_function(target: str) -> tuple[DurableFunction, Mapping[str, DurableFunction]]:
    """Load what `FILE:FUNCTION` names; give the function, and all of the file by name.

    `FILE` alone will do when it has just one.

    Raises:
        Trouble: there is no such file or function, or the file cannot be loaded.
    """
    file, colon, name = target.rpartition(":")
    if not colon:
        file, name = target, ""
    functions = load_functions(file)
    if not name and len(functions) == 1:
        [function] = functions.values()
        return function, functions
    if name not in functions:
        raise _no_function(file, name, functions)
    return functions[name], functions


def load_functions(*files: str) -> Mapping[str, DurableFunction]:
    """Load *files*; give every durable function in them, imported ones too, by name.

    Raises:
        Trouble: there is no such file, it cannot be loaded, or has no durable function.
    """
    found: list[DurableFunction] = []
    for file in files:
        whole, _, name = file.rpartition(":")
        if name and Path(whole).is_file():
            raise Trouble(
                f"{file!r} names a function, and files are loaded whole.", f"Write {whole}."
            )
        module = _load(Path(file))
        here = [value for value in vars(module).values() if isinstance(value, DurableFunction)]
        if not here:
            raise Trouble(
                f"{file} has no durable function.", "Write @durable_execution above its def."
            )
        found += here
    try:
        return functions_by_name(found)
    except ValidationError as error:
        raise Trouble(f"{', '.join(files)}: {error.message}.") from error


def unload(folders: Iterable[Path]) -> None:
    """Forget every module out of *folders*, so that loading reads it anew.

    What is installed there stays: libraries do not change, and some cannot be loaded twice.
    """
    for name, module in tuple(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or "")
        is_installed = file.is_relative_to(sys.prefix) or "site-packages" in file.parts
        is_ours = any(file.is_relative_to(folder) for folder in folders)
        if is_ours and not is_installed and name != "__main__":
            del sys.modules[name]
    importlib.invalidate_caches()


def _no_function(file: str, name: str, functions: Mapping[str, DurableFunction]) -> Trouble:
    known = ", ".join(sorted(functions)) or "none"
    if not name:
        return Trouble(f"{file} has several durable functions: {known}.", f"Write {file}:FUNCTION.")
    plain = getattr(sys.modules.get(_module_name(Path(file))), name, None)
    if callable(plain):
        step = "Write @durable_execution above its def."
        return Trouble(f"{name} in {file} is a function, but not a durable one.", step)
    hint = did_you_mean(name, functions)
    return Trouble(f"{file} has no durable function {name!r}.{hint}", f"It has: {known}.")


def _load(path: Path) -> ModuleType:
    if path.is_dir():
        raise Trouble(f"{str(path)!r} is a folder.", "Name the Python files in it.")
    if not path.is_file():
        raise Trouble(f"There is no file {str(path)!r}.", "Name a Python file.")
    try:
        return _import(path.resolve())
    except SyntaxError as error:
        place = f"{error.filename}, line {error.lineno}: {(error.text or '').strip()}"
        raise Trouble(f"{path} is not valid Python: {error.msg}.", places=(place,)) from error
    except SystemExit as error:
        step = "What a script does belongs below `if __name__ == '__main__':`."
        raise Trouble(f"{path} ended itself while it was loaded.", step) from error
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        places = places_of(error.__traceback__)
        raise Trouble(f"{path} could not be loaded: {said}", places=places) from error


def _import(path: Path) -> ModuleType:
    """Import *path* under the name that other files of its package or directory know it by."""
    package = _package_of(path)
    for folder in {path.parent, _root_of(path, package)}:
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    name = _module_name(path)
    if (known := sys.modules.get(name)) is not None:
        return known
    if package:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _module_name(path: Path) -> str:
    path = path.resolve()
    name = ".".join((*_package_of(path), path.stem))
    known = sys.modules.get(name)
    is_taken = known is not None and getattr(known, "__file__", None) != str(path)
    return f"durably_file_{path.stem}" if is_taken else name


def _package_of(path: Path) -> tuple[str, ...]:
    """Name the packages that the directories above *path* are, outermost first."""
    names: list[str] = []
    folder = path.parent
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    return tuple(names)


def _root_of(path: Path, package: tuple[str, ...]) -> Path:
    return path.parents[len(package)]


EMPTY: Mapping[str, DurableFunction] = MappingProxyType({})
