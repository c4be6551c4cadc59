"""Tables that are built from the code, so that they cannot contradict it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from callback_outcomes import CALLBACKS, OUTCOMES as CALLBACK_OUTCOMES, PLACES, SINCE
from code_facts import connection_type, default_of, documented, load, sentence, shown_default
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document
from error_outcomes import COLUMNS, NOT_OF_A_REQUEST, OUTCOMES, SAME_AS, Outcome
from idiom_matrix import CELLS, IDIOMS, OTHERS, TASKS, Forbidden
from limit_outcomes import COLUMNS as LIMIT_COLUMNS, OUTCOMES as LIMIT_OUTCOMES
from option_outcomes import (
    APPLIED_BY_AIRFLOW,
    CLASSES,
    COLUMNS as OPTION_COLUMNS,
    NO_SUCH_MODE,
    OUTCOMES as OPTION_OUTCOMES,
    PARTS,
    WHY_NO_MODE,
)
from sphinx.util.docutils import SphinxDirective, sphinx_domains

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx


class KernelTable(SphinxDirective):
    """Base of the directives; a subclass provides the rows, in reST."""

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return the headings and the rows."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        headings, rows = self.rows()
        lines = [".. list-table::", "   :header-rows: 1", "   :class: kernel-table", ""]
        for row in [headings, *rows]:
            for number, cell in enumerate(row):
                lines.append(("   * - " if number == 0 else "     - ") + " ".join(cell.split()))
        return self.parse_rest(lines)

    def parse_rest(self, lines: list[str]) -> list[nodes.Node]:
        """Parse reST, also where the page itself is Markdown."""
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
        """Return a row for each argument."""
        cls = load(self.arguments[0])
        templated = set(getattr(cls, "template_fields", ()))
        rows = []
        for name, text in documented(cls).items():
            default = shown_default(default_of(cls, name), text)
            marked = f"``{name}``" + (" (templated)" if name in templated else "")
            rows.append([marked, default, sentence(text.replace("(templated)", ""))])
        return ["Argument", "Default", "What it is"], rows


class ConnectionFields(KernelTable):
    """The fields of the connection form."""

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return a row for each field in the extra."""
        rows = []
        for name, field in connection_type()["conn-fields"].items():
            schema = field["schema"]
            default = schema.get("default")
            low, high = schema.get("minimum"), schema.get("maximum")
            allowed = f" From {low} to {high}." if low is not None and high is not None else ""
            shown = "empty" if default is None else f"``{default}``"
            rows.append([f"{field['label']} ``{name}``", shown, field["description"] + allowed])
        return ["Field", "Default", "What it is"], rows


class ErrorFacts(KernelTable):
    """Docstring, retry and base class of an error: ``KernelRateLimitError``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Build the paragraphs."""
        from airflow_provider_kernel import client

        cls = getattr(client, self.arguments[0])
        meaning = (inspect.getdoc(cls) or "").split("\n:param")[0].strip()
        again = "no, the task fails at once" if cls.permanent else "yes, while the task has retries left"
        base = cls.__mro__[1].__name__
        caught = f" **Also caught by:** ``except {base}``." if base.startswith("Kernel") else ""
        return self.parse_rest([*meaning.splitlines(), "", f"**Retried:** {again}.{caught}"])


class ErrorOutcomes(KernelTable):
    """What each error of a request becomes, by what the request is for."""

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return a row for each error, with the places that share an outcome in one line of its second cell."""
        rows = []
        for error, cells in OUTCOMES.items():
            places: dict[str, list[str]] = {}
            for column, outcome in cells.items():
                text = outcome.value if isinstance(outcome, Outcome) else outcome
                places.setdefault(text, []).append(COLUMNS[column])
            rows.append(
                [f"``{error}``", " ".join(f"**{', '.join(names)}:** {text}." for text, names in places.items())]
            )
        rows += [[f"``{error}``", f"as ``{base}``"] for error, base in SAME_AS.items()]
        rows += [[f"``{error}``", f"of no request: {why}"] for error, why in NOT_OF_A_REQUEST.items()]
        return ["Error", "What follows"], rows


class OptionOutcomes(KernelTable):
    """What each option of Airflow's base classes does, by part and mode."""

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return a row for each option and case, with the columns that share an outcome in one sentence."""
        rows = []
        for (option, case), cells in OPTION_OUTCOMES.items():
            columns: dict[str, list[str]] = {}
            for column, outcome in cells.items():
                columns.setdefault(outcome if isinstance(outcome, str) else outcome.value, []).append(column)
            sentences = [f"**{_modes(shared, OPTION_COLUMNS)}:** {text}." for text, shared in columns.items()]
            rows.append([f"``{option}``; {case}", " ".join(sentences)])
        return ["Option; case", "What follows"], rows


class CallbackOutcomes(KernelTable):
    """What callbacks of the package do, by what calls them: the names of the callbacks."""

    required_arguments = 1
    optional_arguments = len(CALLBACKS) - 1

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return a row for each place, with the callbacks that do the same in one sentence."""
        rows = []
        for place, name in PLACES.items():
            callbacks: dict[str, list[str]] = {}
            for callback in self.arguments:
                text = CALLBACK_OUTCOMES[place][callback].value
                callbacks.setdefault(text, []).append(f"``{CALLBACKS[callback]}``")
            if len(self.arguments) == 1:
                (text,) = callbacks
                what = f"{text[0].upper()}{text[1:]}."
            else:
                what = " ".join(f"{', '.join(names)}: {text}." for text, names in callbacks.items())
            rows.append([name, SINCE.get(place, "3.1"), what])
        return ["Where", "Since Airflow", "What it does"], rows


class LimitOutcomes(KernelTable):
    """What each limit of time does, by part and mode."""

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return a row for each limit, with the columns that share an outcome in one sentence."""
        rows = []
        for limit, cells in LIMIT_OUTCOMES.items():
            columns: dict[str, list[str]] = {}
            for column, outcome in cells.items():
                columns.setdefault(outcome if isinstance(outcome, str) else outcome.value, []).append(column)
            sentences = [f"**{_modes(shared, LIMIT_COLUMNS)}:** {text}." for text, shared in columns.items()]
            rows.append([limit, " ".join(sentences)])
        return ["Limit", "What follows"], rows


def _modes(columns: list[str], table: dict[str, str]) -> str:
    """Name columns of a table, and a part of which all modes are among them by its name alone."""
    if len(columns) == len(table):
        return "All"
    names = []
    for part, name in PARTS.items():
        of_part = [column for column in table if column.partition("_")[0] == part]
        shared = [column for column in of_part if column in columns]
        names += [name] if shared == of_part else [table[column] for column in shared]
    return ", ".join(names)


class MissingModes(KernelTable):
    """The parts, the modes that each does not have, and what Airflow says to who asks for them."""

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return a row for each part."""
        rows = []
        for part, name in PARTS.items():
            classes = ", ".join(f"``{cls}``" for cls in CLASSES[part])
            arguments = ", ".join(f"``{name}={value!r}``" for name, value in NO_SUCH_MODE.get(part, []))
            why = (
                f"Airflow refuses {arguments} with a ``TypeError``: {WHY_NO_MODE[part]}." if arguments else "None."
            )
            rows.append([f"**{name}:** {classes}", why])
        return ["Part", "Modes that it does not have"], rows


class AppliedByAirflow(KernelTable):
    """The options that no code of the package can meet."""

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return a row for each group of them."""
        rows = [
            [", ".join(f"``{name}``" for name in names), f"{why}."] for why, names in APPLIED_BY_AIRFLOW.items()
        ]
        return ["Options", "Who applies them"], rows


class IdiomMatrix(KernelTable):
    """Each part of the package in each idiom: the test that plays it, or the error that forbids it."""

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return a row for each part, with the idioms that share a cell in one sentence."""
        rows = []
        for part, (name, _) in {**TASKS, **OTHERS}.items():
            idioms: dict[str, list[str]] = {}
            for idiom, cell in CELLS[part].items():
                text = cell.sentence() if isinstance(cell, Forbidden) else f"``{cell.rpartition('::')[2]}``"
                idioms.setdefault(text, []).append(IDIOMS[idiom])
            sentences = [f"{', '.join(names)}: {text}." for text, names in idioms.items()]
            rows.append([f"``{name}``", " ".join(f"{sentence}" for sentence in sentences)])
        return ["Part", "Idiom: the test, or why it cannot be"], rows


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("kernel-arguments", Arguments)
    app.add_directive("kernel-connection-fields", ConnectionFields)
    app.add_directive("kernel-error", ErrorFacts)
    app.add_directive("kernel-error-outcomes", ErrorOutcomes)
    app.add_directive("kernel-option-outcomes", OptionOutcomes)
    app.add_directive("kernel-callback-outcomes", CallbackOutcomes)
    app.add_directive("kernel-limit-outcomes", LimitOutcomes)
    app.add_directive("kernel-idiom-matrix", IdiomMatrix)
    app.add_directive("kernel-missing-modes", MissingModes)
    app.add_directive("kernel-applied-by-airflow", AppliedByAirflow)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
