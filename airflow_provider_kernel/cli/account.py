"""The commands ``airflow-kernel check`` and ``airflow-kernel apps``: what a connection gives access to."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

from airflow_provider_kernel.connection_form import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from airflow_provider_kernel.client.config import KernelConfig
    from airflow_provider_kernel.client.resources.apps import AppVersion

_EXIT_CODES = "Exit code: 0 it works, 1 it does not, 2 usage error."
_ENVIRONMENT = "the environment"
_NO_DATABASE = (
    "If Airflow's database does not exist yet, `airflow db migrate` creates it; --environment needs none, and uses "
    "KERNEL_API_KEY"
)


def add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``airflow-kernel check`` to the command line."""
    parser = commands.add_parser(
        "check",
        help="check a connection, as the Test button of Airflow's connection form does",
        description=(
            "Ask Kernel whose key a connection holds, and say what is wrong if that fails. Nothing is changed."
            " The connection is looked up as Airflow's own commands do: secrets backend, environment, database."
        ),
        epilog=_EXIT_CODES,
    )
    _add_connection(parser)


def add_apps(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``airflow-kernel apps`` to the command line."""
    parser = commands.add_parser(
        "apps",
        help="list the apps of a connection's project, with their versions and actions",
        description="List the apps that the operators can run: each deployed version, and its actions.",
        epilog=_EXIT_CODES,
    )
    parser.add_argument("app", nargs="?", metavar="APP", help="only this app")
    _add_connection(parser, as_option=True)


def _add_connection(parser: argparse.ArgumentParser, *, as_option: bool = False) -> None:
    which = parser.add_mutually_exclusive_group()
    names, options = (("--conn-id",), {}) if as_option else (("conn_id",), {"nargs": "?"})
    which.add_argument(
        *names,
        **options,  # type: ignore[arg-type]
        metavar="CONN_ID",
        help=f"the Airflow connection (default: {DEFAULT_CONN_ID})",
    )
    which.add_argument(
        "--environment",
        action="store_true",
        help="use KERNEL_API_KEY, KERNEL_BASE_URL and KERNEL_PROJECT, and no Airflow connection",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run_check(arguments: argparse.Namespace) -> int:
    """Check a connection, print the outcome, and return the exit code."""
    from airflow_provider_kernel.hooks.connection_check import check_connection

    with redirect_stdout(sys.stderr):  # Airflow logs to it, and a program reads the other one
        works, message = check_connection(lambda: _config(arguments))
    if arguments.json:
        print(json.dumps({"connection": _name(arguments), "ok": works, "message": message}))
    elif works:
        print(f"{_name(arguments)}: {message}")
    else:
        _fail(arguments, message)
    return int(not works)


def run_apps(arguments: argparse.Namespace) -> int:
    """Print the apps, and return the exit code."""
    from airflow_provider_kernel.client.client import KernelClient
    from airflow_provider_kernel.client.errors import KernelError
    from airflow_provider_kernel.client.resources.apps import list_apps

    try:
        with redirect_stdout(sys.stderr), KernelClient(_config(arguments)) as client:
            apps = list(client.pages(list_apps(app_name=arguments.app)))
    except KernelError as error:
        _fail(arguments, str(error))
        return 1
    if arguments.json:
        print(json.dumps([app.model_dump(mode="json") for app in apps], indent=2))
    elif apps:
        print("\n".join(_as_lines(apps)))
    elif arguments.app:
        _fail(arguments, f"there is no app {arguments.app!r} in this project; without a name, this lists all apps")
        return 1
    else:
        print("No app is deployed in this project.")
    return 0


def _config(arguments: argparse.Namespace) -> KernelConfig:
    """
    Read the settings.

    :raises KernelConfigurationError: when there are none, or they are invalid.
    """
    from airflow_provider_kernel.client.errors import (
        KernelConfigurationError,
        KernelConfigurationUnavailableError,
    )
    from airflow_provider_kernel.hooks.connection import config_from_environment
    from airflow_provider_kernel.hooks.kernel import KernelHook

    if not arguments.environment:
        try:
            with _as_a_command_of_airflow():
                return KernelHook(_name(arguments)).config
        except KernelConfigurationUnavailableError as error:
            raise KernelConfigurationUnavailableError(f"{error}. {_NO_DATABASE}") from None
    config = config_from_environment()
    if config is None:
        raise KernelConfigurationError("KERNEL_API_KEY is not set. Set it to an API key of Kernel's dashboard")
    return config


@contextmanager
def _as_a_command_of_airflow() -> Iterator[None]:
    """Let the database be among the places where Airflow looks a connection up, as for its own commands."""
    name = "_AIRFLOW_PROCESS_CONTEXT"
    before = os.environ.get(name)
    os.environ[name] = "server"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _name(arguments: argparse.Namespace) -> str:
    return _ENVIRONMENT if arguments.environment else arguments.conn_id or DEFAULT_CONN_ID


def _fail(arguments: argparse.Namespace, message: str) -> None:
    print(f"airflow-kernel {arguments.command}: {_name(arguments)}: {message}", file=sys.stderr)


def _as_lines(apps: list[AppVersion]) -> list[str]:
    """Write a table. The names are Kernel's: they must not control the terminal."""
    from airflow_provider_kernel.client.sanitize import sanitize_line

    rows = [("APP", "VERSION", "ACTIONS")]
    for app in sorted(apps, key=lambda app: (app.app_name, app.version)):
        actions = ", ".join(action.name for action in app.actions) or "-"
        rows.append((sanitize_line(app.app_name), sanitize_line(app.version), sanitize_line(actions)))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{name:{widths[0]}}  {version:{widths[1]}}  {actions}" for name, version, actions in rows]
