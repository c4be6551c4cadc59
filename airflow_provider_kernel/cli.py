"""The command ``airflow-kernel``. Whatever is slow to import is imported by the command that needs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_kernel import __version__
from airflow_provider_kernel.demo.expected import EXAMPLES


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command line.

    :param argv: the arguments; those of the process by default.
    :return: the exit code.
    """
    arguments = build_parser().parse_args(argv)
    return _demo(arguments) if arguments.command == "demo" else _emulator(arguments)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser."""
    parser = argparse.ArgumentParser(
        prog="airflow-kernel", description="Try out and test Apache Airflow with Kernel, https://www.kernel.sh/"
    )
    parser.add_argument("--version", action="version", version=f"airflow-provider-kernel {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_emulator(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="run the example DAGs with a real Airflow, in this process, against an emulated Kernel",
        description=(
            "Run the example DAGs with a real Airflow, in this process, against a Kernel that is emulated on"
            " loopback; no account is needed. Shows what happens, checks how everything ended, and says where it"
            " differs from what was expected."
        ),
        epilog="Exit code: 0 all as expected, 1 something differs, 2 nothing was run, 130 interrupted.",
    )
    parser.add_argument(
        "dags",
        nargs="*",
        type=_dag_id,
        metavar="DAG",
        help=f"run only these; without, all of: {', '.join(EXAMPLES)}",
    )
    parser.add_argument(
        "--home",
        type=Path,
        default=Path(".airflow"),
        metavar="DIR",
        help="Airflow's home, made if needed; it holds the database and the logs (default: %(default)s)",
    )
    parser.add_argument("--verbose", action="store_true", help="show Airflow's logs instead of filing them")
    parser.add_argument(
        "--live",
        action="store_true",
        help="use the real Kernel instead: KERNEL_API_KEY, and KERNEL_BASE_URL and KERNEL_PROJECT if they are set."
        " Tells what it is going to run and asks first",
    )
    parser.add_argument("--yes", action="store_true", help="with --live: do not ask")
    parser.add_argument(
        "--app",
        metavar="NAME",
        help="with --live: the app to use; it needs the actions that the examples invoke (default: demo)",
    )
    parser.set_defaults(parser=parser)


def _add_emulator(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "emulator",
        help="serve an emulated Kernel API until Ctrl-C",
        description=(
            "Serve an emulated Kernel API on loopback until Ctrl-C. It has an app 'demo' with the actions echo,"
            " sleep, fail, logs, browsers and hang, and prints the Airflow connection that leads to it."
        ),
    )
    parser.add_argument("--port", type=int, default=8787, help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--api-key",
        default="sk-emulator",
        metavar="K",
        help="the key that clients must send (default: %(default)s)",
    )


def _dag_id(text: str) -> str:
    if text not in EXAMPLES:
        raise argparse.ArgumentTypeError(f"there is no example {text!r}; there are {', '.join(EXAMPLES)}")
    return text


def _demo(arguments: argparse.Namespace) -> int:
    if not arguments.live:
        for name in ("yes", "app"):
            if getattr(arguments, name):
                arguments.parser.error(f"--{name} is for --live only")

    from airflow_provider_kernel.demo.command import DemoOptions, run_demo

    return run_demo(
        DemoOptions(
            home=arguments.home,
            dags=tuple(dict.fromkeys(arguments.dags)),
            live=arguments.live,
            app=arguments.app or "demo",
            confirmed=arguments.yes,
            verbose=arguments.verbose,
        )
    )


def _emulator(arguments: argparse.Namespace) -> int:
    from airflow_provider_kernel.testing import run_emulator

    try:
        run_emulator(arguments.port, arguments.api_key)
    except OSError as error:
        print(f"airflow-kernel emulator: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
