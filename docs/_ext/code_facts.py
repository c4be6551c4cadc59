"""Facts that the documentation takes from the code. Imports no Sphinx, so that tests can use it."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any

from airflow_provider_kernel.handoff import INVOCATION_ID_FROM_CONF

PACKAGE = "airflow_provider_kernel"
FIELD = re.compile(r"^:param (\w+): (.*(?:\n[ \t]+.*)*)", re.MULTILINE)


def load(dotted: str) -> type:
    """Import a class."""
    module, _, name = dotted.rpartition(".")
    cls: type = getattr(import_module(module), name)
    return cls


def connection_type() -> dict[str, Any]:
    """Return the connection type as the provider metadata describes it."""
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
            parameters = inspect.signature(inspect.unwrap(vars(base)["__init__"])).parameters.values()
            passed_on = [p for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
            for parameter in parameters:
                if parameter.name != "self" and parameter not in passed_on:
                    found.setdefault(parameter.name, parameter.default)
            if not passed_on:  # then the bases' arguments are none of this class
                break
    return found


def default_of(cls: type, name: str) -> Any:
    """
    Find the default of an argument, also of one that a base class of Airflow's takes.

    :return: the default, or ``inspect.Parameter.empty`` for a required argument.
    """
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameter = inspect.signature(inspect.unwrap(vars(base)["__init__"])).parameters.get(name)
            if parameter is not None:
                return parameter.default
    return inspect.Parameter.empty


def documented(cls: type) -> dict[str, str]:
    """Collect the description of each argument; a subclass overrides its bases."""
    found: dict[str, str] = {}
    for base in own_bases(cls):
        for name, text in FIELD.findall(inspect.cleandoc(base.__doc__ or "")):
            found.setdefault(name, text)
    return found


def shown_default(value: Any, text: str) -> str:
    """
    Render the default of an argument as reST.

    :param value: the default in the code.
    :param text: the argument's description in the docstring, which some defaults are derived from.
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
    """Join the lines of a field and capitalize the result."""
    text = re.sub(r"\s+([.,;]|:(?!\w))", r"\1", " ".join(text.split()))
    return text[:1].upper() + text[1:]
