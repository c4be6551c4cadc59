"""The command ``airflow-kernel``. Each subcommand imports its slow dependencies itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from airflow_provider_kernel import __version__
from airflow_provider_kernel.cli import account
from airflow_provider_kernel.demo.expected import EXAMPLES
from airflow_provider_kernel.emulator_extra import require_emulator_extra

#: The commands that only need a connection.
_ACCOUNT = {"check": account.run_check, "apps": account.run_apps}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, by default with the arguments of the process, and return the exit code."""
    arguments = build_parser().parse_args(argv)
    if arguments.command in _ACCOUNT:
        return _ACCOUNT[arguments.command](arguments)
    try:
        require_emulator_extra()
    except ImportError as error:
        print(f"airflow-kernel {arguments.command}: {error}", file=sys.stderr)
        return 2
    return _demo(arguments) if arguments.command == "demo" else _emulator(arguments)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="airflow-kernel", description="Try out and test Apache Airflow with Kernel, https://www.kernel.sh/"
    )
    parser.add_argument("--version", action="version", version=f"airflow-provider-kernel {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_emulator(commands)
    account.add_check(commands)
    account.add_apps(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="run the example DAGs with a real Airflow, in this process, against an emulated Kernel",
        description=(
            "Run the example DAGs with a real Airflow, in this process, against a Kernel that is emulated on"
            " loopback; no account is needed. Prints each event, compares the end of every task and invocation with"
            " what is expected, and lists the differences."
        ),
        epilog="Exit code: 0 all as expected, 1 differences, 2 usage error or missing extra, 130 interrupted.",
    )
    parser.add_argument(
        "dags",
        nargs="*",
        type=_dag_id,
        metavar="DAG",
        help=f"example DAGs to run (default: {', '.join(EXAMPLES)})",
    )
    parser.add_argument(
        "--home",
        type=Path,
        default=Path(".airflow"),
        metavar="DIR",
        help="Airflow's home with database and logs, created if needed (default: %(default)s)",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="show Airflow's logs instead of writing them to a file"
    )


def _add_emulator(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "emulator",
        help="serve an emulated Kernel API until Ctrl-C",
        description=(
            "Serve an emulated Kernel API on loopback until Ctrl-C. Prints the Airflow connection to it. It has an"
            " app 'demo' with these actions, and the keys of their payloads: echo (anything), sleep (seconds), fail"
            " (message, plain), logs (lines, message, per_second), browsers (count, seconds), hang (anything)."
        ),
    )
    parser.add_argument(
        "--port", type=int, default=8787, help="port to listen on; 0 picks a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--api-key",
        default="sk-emulator",
        metavar="KEY",
        help="API key that clients must send (default: %(default)s)",
    )
    parser.add_argument(
        "--actions",
        type=Path,
        metavar="FILE",
        help="Python file whose functions are served too, as actions of an app that is called like the file",
    )


def _dag_id(text: str) -> str:
    if text not in EXAMPLES:
        raise argparse.ArgumentTypeError(f"there is no example {text!r}; choose from {', '.join(EXAMPLES)}")
    return text


def _demo(arguments: argparse.Namespace) -> int:
    from airflow_provider_kernel.demo.command import DemoOptions, run_demo

    dags = tuple(dict.fromkeys(arguments.dags))
    return run_demo(DemoOptions(arguments.home, dags, verbose=arguments.verbose))


def _emulator(arguments: argparse.Namespace) -> int:
    from airflow_provider_kernel.testing import run_emulator
    from airflow_provider_kernel.testing.action_file import ActionFileError, register_actions

    setup = partial(register_actions, path=arguments.actions) if arguments.actions else None
    try:
        run_emulator(arguments.port, arguments.api_key, setup=setup)
    except ActionFileError as error:
        print(f"airflow-kernel emulator: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"airflow-kernel emulator: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0
