"""Every log call of the package goes through a logger that escapes foreign text and never raises."""

from __future__ import annotations

import ast
import importlib
import logging
import pkgutil
import re
from pathlib import Path

import pytest
from support.hostile_text import EVIL, check_harmless

import airflow_provider_kernel
from airflow_provider_kernel.client.safe_logger import SafeLogMixin, get_logger

ROOT = Path(airflow_provider_kernel.__file__).parent
#: The emulator, the demo and the command line print for a developer, about apps of his own.
NOT_IN_A_TASK = ("testing/", "demo/", "cli/", "emulator_extra.py")
#: Makes the safe loggers; filters the loggers of httpx.
MAY_USE_LOGGERS = ("client/safe_logger.py", "client/http/log_filter.py")
LEVELS = {"debug", "info", "warning", "warn", "error", "exception", "critical", "fatal", "log", "msg"}
#: The names of safe loggers: a module's, an object's own, or one that a caller with one of those hands on.
RECEIVERS = {"log", "logger", "self.log", "self.logger", "self._log"}
#: What gives a logger that is not safe, or writes to the log without one.
RAW = {"getLogger", "get_logger", "getChild", "LoggerAdapter", "LoggingMixin", "structlog", "warn", "print"}


def sources():
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(NOT_IN_A_TASK) and name not in MAY_USE_LOGGERS:
            yield name, ast.parse(path.read_text())


def log_calls(tree):
    """Find the log calls of a module, with what they are called on."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            receiver = ast.unparse(node.func.value)
            if "log" in receiver.rpartition(".")[2]:
                yield node, receiver


def raw_loggers(tree):
    """Find where a module gets a logger that is not safe, or writes without one."""
    safe = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "airflow_provider_kernel.client.safe_logger"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {alias.name.partition(".")[0] for alias in node.names} - safe
        elif isinstance(node, ast.Name):
            names = {node.id} - safe
        else:
            names = {node.attr} if isinstance(node, ast.Attribute) else set()
        yield from ((node.lineno, name) for name in names & RAW)


def test_package_has_no_logger_but_the_safe_one():
    found = {f"{name}:{line} {what}" for name, tree in sources() for line, what in raw_loggers(tree)}
    assert found == set()


@pytest.mark.parametrize(
    "source",
    [
        "import logging\nlog = logging.getLogger(__name__)",
        "from logging import getLogger\ngetLogger('a')",
        "import structlog\nstructlog.get_logger()",
        "from airflow.sdk import LoggingMixin",
        "print('x')",
        "import warnings\nwarnings.warn('x')",
    ],
)
def test_raw_logger_is_found(source):
    assert list(raw_loggers(ast.parse(source)))


def classes():
    for module in pkgutil.walk_packages([str(ROOT)], "airflow_provider_kernel."):
        name = module.name.removeprefix("airflow_provider_kernel.").replace(".", "/")
        if not f"{name}.py".startswith(NOT_IN_A_TASK) and not f"{name}/".startswith(NOT_IN_A_TASK):
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and value.__module__ == module.name:
                    yield value


def test_log_of_every_class_is_safe():
    with_log = {each for each in classes() if isinstance(getattr(each, "log", None), property)}
    assert {each.__name__ for each in with_log} >= {
        "KernelHook",
        "KernelInvokeOperator",
        "KernelInvocationSensor",
        "KernelInvocationTrigger",
        "KernelInvocationNotifier",
        "KernelInvocationDecoratedOperator",
    }
    assert {each.__name__ for each in with_log if each.log is not SafeLogMixin.log} == set()


HOSTILE_VALUES = {"d": 5, "f": 1.5, "s": EVIL, "r": EVIL}
CALLS = [(name, call, receiver) for name, tree in sources() for call, receiver in log_calls(tree)]


@pytest.mark.parametrize(
    ("call", "receiver"), [each[1:] for each in CALLS], ids=[f"{name}:{call.lineno}" for name, call, _ in CALLS]
)
def test_log_call_with_hostile_values_writes_harmless_lines(call, receiver, caplog):
    assert receiver in RECEIVERS
    caplog.set_level(logging.DEBUG)
    level, *given = call.args if call.func.attr == "log" else (None, *call.args)
    message = given[0]
    is_literal = isinstance(message, ast.Constant)
    kinds = re.findall(r"%[-\d.]*([a-z])", message.value) if is_literal else []
    assert not is_literal or len(kinds) == len(given) - 1
    values = [HOSTILE_VALUES[kind] for kind in kinds]
    write = getattr(get_logger("a.module"), call.func.attr)
    write(*((logging.INFO,) if level is not None else ()), message.value if is_literal else EVIL, *values)
    assert len(caplog.records) >= 1
    for record in caplog.records:
        check_harmless(record.getMessage())
