"""Tables that are built from the code, so that they cannot say anything else than it."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any

from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, sphinx_domains

PACKAGE = "airflow_provider_kernel"
FIELD = re.compile(r"^:param (\w+): (.*(?:\n[ \t]+.*)*)", re.MULTILINE)


class KernelTable(SphinxDirective):
    """Base of the directives; a subclass says what the rows are, in reST."""

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Give the headings and the rows."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        headings, rows = self.rows()
        lines = [".. list-table::", "   :header-rows: 1", ""]
        for row in [headings, *rows]:
            for number, cell in enumerate(row):
                lines.append(("   * - " if number == 0 else "     - ") + " ".join(cell.split()))
        return self.parse_rest(lines)

    def parse_rest(self, lines: list[str]) -> list[nodes.Node]:
        """Read reST, also where the page itself is Markdown."""
        document = new_document("generated", get_default_settings(Parser))
        document.settings.env = self.env
        document.reporter = self.state.document.reporter
        with sphinx_domains(self.env):
            Parser().parse("\n".join(lines), document)
        return list(document.children)


class Arguments(KernelTable):
    """The arguments of an operator or a trigger: ``module.Class``."""

    required_arguments = 1

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Give a row for each argument."""
        cls = load(self.arguments[0])
        defaults, templated = argument_defaults(cls), set(getattr(cls, "template_fields", ()))
        rows = []
        for name, text in documented(cls).items():
            default = _default(defaults.get(name, inspect.Parameter.empty), text)
            marked = f"``{name}``" + (" (templated)" if name in templated else "")
            rows.append([marked, default, _sentence(text.replace("(templated)", ""))])
        return ["Argument", "Default", "What it is"], rows


class ConnectionFields(KernelTable):
    """The fields of the connection form."""

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Give a row for each field in the extra."""
        rows = []
        for name, field in connection_type()["conn-fields"].items():
            schema = field["schema"]
            default = schema.get("default")
            low, high = schema.get("minimum"), schema.get("maximum")
            allowed = f" From {low} to {high}." if low is not None and high is not None else ""
            shown = "empty" if default is None else f"``{default}``"
            rows.append([field["label"], f"``{name}``", shown, field["description"] + allowed])
        return ["In the form", "In the extra", "Default", "What it is"], rows


class ErrorFacts(KernelTable):
    """What the code says of an error: ``KernelRateLimitError``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Build the paragraphs."""
        from airflow_provider_kernel.api import errors

        cls = getattr(errors, self.arguments[0])
        meaning = (inspect.getdoc(cls) or "").split("\n:param")[0].strip()
        again = "no: the task fails at once" if cls.permanent else "yes, while the task has retries left"
        lines = [*meaning.splitlines(), "", f":Tried again: {again}."]
        base = cls.__mro__[1].__name__
        if base.startswith("Kernel"):
            lines.append(f":Also caught by: ``except {base}``")
        return self.parse_rest(lines)


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


def documented(cls: type) -> dict[str, str]:
    """Find what the docstrings say of the arguments; the nearest class has the word."""
    found: dict[str, str] = {}
    for base in own_bases(cls):
        for name, text in FIELD.findall(inspect.cleandoc(base.__doc__ or "")):
            found.setdefault(name, text)
    return found


def _default(value: Any, text: str) -> str:
    if value is inspect.Parameter.empty:
        return "as for any sensor" if "as for any sensor" in text else "required"
    if "default_deferrable" in text:
        return "from Airflow's configuration"
    return "left out" if repr(value) == "UNSET" else f"``{value!r}``"


def _sentence(text: str) -> str:
    text = re.sub(r"\s+([.,;:])", r"\1", " ".join(text.split()))
    return text[:1].upper() + text[1:]


def setup(app: Sphinx) -> dict[str, Any]:
    """Make the directives known."""
    app.add_directive("kernel-arguments", Arguments)
    app.add_directive("kernel-connection-fields", ConnectionFields)
    app.add_directive("kernel-error", ErrorFacts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
