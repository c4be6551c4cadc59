"""What the documentation takes from the code. Needs no Sphinx, so that tests can use it."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any

from airflow_provider_kernel.handing_over import INVOCATION_ID_FROM_CONF

PACKAGE = "airflow_provider_kernel"
FIELD = re.compile(r"^:param (\w+): (.*(?:\n[ \t]+.*)*)", re.MULTILINE)


def load(dotted: str) -> type:
    """Import a class."""
    module, _, name = dotted.rpartition(".")
    cls: type = getattr(import_module(module), name)
    return cls


def connection_type() -> dict[str, Any]:
    """Find what Airflow is told about the connection."""
    from airflow_provider_kernel import get_provider_info

    (connection,) = get_provider_info()["connection-types"]
    return connection


def own_bases(cls: type) -> list[type]:
    """List a class and its bases in this package, the class itself first."""
    return [base for base in cls.__mro__ if base.__module__.startswith(PACKAGE)]


def argument_defaults(cls: type) -> dict[str, Any]:
    """Find the arguments of a class that this package gives it, and their defaults."""
    found: dict[str, Any] = {}
    for base in own_bases(cls):
        if "__init__" in vars(base):
            for name, parameter in inspect.signature(inspect.unwrap(vars(base)["__init__"])).parameters.items():
                if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                    found.setdefault(name, parameter.default)
    return found


def default_of(cls: type, name: str) -> Any:
    """
    Find the default of an argument, also of one that a base of Airflow's takes.

    :param cls: the class.
    :param name: the argument.
    :return: its default, or ``inspect.Parameter.empty`` if it has none.
    """
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameter = inspect.signature(inspect.unwrap(vars(base)["__init__"])).parameters.get(name)
            if parameter is not None:
                return parameter.default
    return inspect.Parameter.empty


def documented(cls: type) -> dict[str, str]:
    """Find what the docstrings say of the arguments; the nearest class has the word."""
    found: dict[str, str] = {}
    for base in own_bases(cls):
        for name, text in FIELD.findall(inspect.cleandoc(base.__doc__ or "")):
            found.setdefault(name, text)
    return found


def shown_default(value: Any, text: str) -> str:
    """
    Say what an argument is when it is left out.

    :param value: its default in the code.
    :param text: what its docstring says.
    """
    if "as for any sensor" in text:
        return "as for any sensor"
    if value is inspect.Parameter.empty:
        return "required"
    if value == INVOCATION_ID_FROM_CONF:
        return "from the DAG run"
    if "default_deferrable" in text:
        return "from Airflow's configuration"
    return "left out" if repr(value) == "UNSET" else f"``{value!r}``"


def sentence(text: str) -> str:
    """Make a sentence of the text of a field."""
    text = re.sub(r"\s+([.,;:])", r"\1", " ".join(text.split()))
    return text[:1].upper() + text[1:]
