"""Actions of a user's own file, for an emulator that is started from a shell."""

from __future__ import annotations

import inspect
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_kernel.testing.emulator import KernelEmulator


class ActionFileError(Exception):
    """A file of actions that cannot be served."""


def register_actions(emulator: KernelEmulator, path: Path) -> str:
    """
    Deploy each public function of a file as an action of one app.

    :param path: the file. Its variable `APP_NAME` names the app; default: the file's name without `.py`.
    :return: the app's name.
    :raises ActionFileError: when the file cannot be run, or has no function that can be an action.
    """
    if not path.is_file():
        raise ActionFileError(f"there is no file {path}")
    try:
        namespace = runpy.run_path(str(path), run_name="kernel_actions")
    except Exception as error:
        raise ActionFileError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    functions = _functions_of(namespace)
    if not functions:
        raise ActionFileError(
            f"{path} has no action; write a function that takes (ctx) or (ctx, payload); one with a _ before its "
            "name is none"
        )
    app_name = namespace.get("APP_NAME", path.stem)
    if not isinstance(app_name, str) or not app_name:
        raise ActionFileError(f"APP_NAME of {path} is {app_name!r}; it takes the name of an app")
    for name, function in functions.items():
        try:
            emulator.register(app_name, name, function)
        except (TypeError, ValueError) as error:
            raise ActionFileError(f"{name} of {path} cannot be an action: {error}") from error
    return app_name


def _functions_of(namespace: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """Find the functions that the file defines itself, and not those that it imports."""
    return {
        name: value
        for name, value in namespace.items()
        if inspect.isfunction(value) and not name.startswith("_") and value.__module__ == "kernel_actions"
    }
