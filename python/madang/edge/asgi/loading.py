"""From a target's text to the application object, with an error that names what is missing."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from types import ModuleType
from typing import Any

from madang.core.errors import SettingsError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Any]
DEFAULT_NAME = "app"


def load(target: str, directory: str = "", factory: bool = False) -> AsgiApplication:
    """Import the application that `target` names; raises SettingsError, or what its import does."""
    where, _, name = target.partition(":")
    folder = str(Path(directory or os.curdir).resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = _from_file(Path(folder) / where) if where.endswith(".py") else _import(where)
    found: Any = module
    for part in (name or DEFAULT_NAME).split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise SettingsError("asgi", "target", f"{where} has no {part!r}") from None
    if factory:
        if not callable(found):
            raise SettingsError("asgi", "factory", f"{target} cannot be called")
        found = found()
    _check(found, target)
    application: AsgiApplication = found
    return application


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise SettingsError("asgi", "target", f"there is no module {name!r}") from None
        raise


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise SettingsError("asgi", "target", f"there is no file {path.name!r}")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _check(application: object, target: str) -> None:
    if not callable(application):
        raise SettingsError("asgi", "target", f"{target} is no application: it cannot be called")
    try:
        inspect.signature(application).bind({}, None, None)
    except TypeError:
        hint = "an ASGI 3 application takes (scope, receive, send); is it a factory?"
        raise SettingsError("asgi", "target", f"{target}: {hint}") from None
    except ValueError:
        return  # a callable without a signature
