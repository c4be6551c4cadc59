"""
What ``docs/write_pages.py`` writes into pages: tables built from the code, so that they cannot contradict it.

Each function of :data:`GENERATED` returns Markdown.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_calls import CALLS, MODES
from callback_outcomes import CALLBACKS, OUTCOMES as CALLBACK_OUTCOMES, PLACES, SINCE
from code_facts import connection_type, default_of, documented, load, sentence, shown_default
from contents import CONTENTS
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

from airflow_provider_kernel.arguments import TABLE
from airflow_provider_kernel.browser_arguments import (
    BROWSER_ARGUMENTS,
    MAX_USER_TAGS,
    OWNER_TAG_PREFIX,
)
from airflow_provider_kernel.operators._browser_options import TakesBrowserOptions

DOCS = Path(__file__).parents[1]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table. The cells may be reST as in docstrings."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return _markdown(" ".join(text.split())).replace("|", r"\|")


def _markdown(text: str) -> str:
    """Write reST of a docstring as Markdown: a reference becomes the name that it shows."""
    text = re.sub(r":\w+(?::\w+)?:`~(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    text = re.sub(r":\w+(?::\w+)?:`([^`]+)`", r"`\1`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text)


def arguments(dotted: str) -> str:
    """List the arguments of an operator or a trigger, ``module.Class``."""
    cls = load(dotted)
    templated = set(getattr(cls, "template_fields", ()))
    # Those of a browser have a table of their own.
    elsewhere = BROWSER_ARGUMENTS if issubclass(cls, TakesBrowserOptions) else {}
    rows = []
    for name, text in documented(cls).items():
        if name in elsewhere:
            continue
        default = shown_default(default_of(cls, name), text)
        marked = f"``{name}``" + (" (templated)" if name in templated else "")
        rows.append([marked, default, sentence(text.replace("(templated)", ""))])
    return table(["Argument", "Default", "What it is"], rows)


def browser_arguments() -> str:
    """List the arguments of a browser, and what excludes what."""
    rows = []
    for name, argument in BROWSER_ARGUMENTS.items():
        marked = f"``{name}``" + (" (templated)" if argument.is_templated else "")
        rows.append([marked, argument.type, f"``{argument.default!r}``", f"{sentence(argument.meaning)}."])
    excluded = [f"- {conflict.says}." for conflict in TABLE["KernelBrowserTaskOperator"].conflicts]
    excluded.append(
        f"- Keys of ``tags`` may not begin with ``{OWNER_TAG_PREFIX}``, and there may be {MAX_USER_TAGS}."
    )
    return "\n".join([table(["Argument", "Type", "Default", "What it is"], rows), "", *map(_markdown, excluded)])


def connection_fields() -> str:
    """List the fields of the connection form that are kept in the extra."""
    rows = []
    for name, field in connection_type()["conn-fields"].items():
        schema = field["schema"]
        default = schema.get("default")
        low, high = schema.get("minimum"), schema.get("maximum")
        allowed = f" From {low} to {high}." if low is not None and high is not None else ""
        shown = "empty" if default is None else f"``{default}``"
        rows.append([f"{field['label']} ``{name}``", shown, field["description"] + allowed])
    return table(["Field", "Default", "What it is"], rows)


def error_facts(name: str) -> str:
    """Write docstring, retry and base class of an error."""
    from airflow_provider_kernel import client

    cls = getattr(client, name)
    meaning = _markdown((inspect.getdoc(cls) or "").split("\n:param")[0].strip())
    again = "no, the task fails at once" if cls.permanent else "yes, while the task has retries left"
    base = cls.__mro__[1].__name__
    caught = f" **Also caught by:** `except {base}`." if base.startswith("Kernel") else ""
    return f"{meaning}\n\n**Retried:** {again}.{caught}"


def error_outcomes() -> str:
    """Say what each error becomes, with the places that share an outcome in one line of its second cell."""
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
    return table(["Error", "What follows"], rows)


def option_outcomes() -> str:
    """Say what each option of Airflow does, with the columns that share an outcome in one sentence."""
    rows = []
    for (option, case), cells in OPTION_OUTCOMES.items():
        rows.append([f"``{option}``; {case}", _sentences(cells, OPTION_COLUMNS)])
    return table(["Option; case", "What follows"], rows)


def limit_outcomes() -> str:
    """Say what each limit does, with the columns that share an outcome in one sentence."""
    rows = [[limit, _sentences(cells, LIMIT_COLUMNS)] for limit, cells in LIMIT_OUTCOMES.items()]
    return table(["Limit", "What follows"], rows)


def airflow_calls() -> str:
    """List the calls to Airflow's API that a task makes itself, with their reasons."""
    rows = [
        [f"``{call.request}``", call.reason, *("1" if mode in call.modes else "" for mode in MODES)]
        for call in CALLS
    ]
    sums = [str(sum(mode in call.modes for call in CALLS)) for mode in MODES]
    return table(["Call", "For", *MODES.values()], [*rows, ["all", "", *sums]])


def callback_outcomes(*names: str) -> str:
    """Say what callbacks do, by what calls them, with those that do the same in one sentence."""
    rows = []
    for place, where in PLACES.items():
        callbacks: dict[str, list[str]] = {}
        for callback in names:
            text = CALLBACK_OUTCOMES[place][callback].value
            callbacks.setdefault(text, []).append(f"``{CALLBACKS[callback]}``")
        if len(names) == 1:
            (text,) = callbacks
            what = f"{text[0].upper()}{text[1:]}."
        else:
            what = " ".join(f"{', '.join(shown)}: {text}." for text, shown in callbacks.items())
        rows.append([where, SINCE.get(place, "3.1"), what])
    return table(["Where", "Since Airflow", "What it does"], rows)


def missing_modes() -> str:
    """List the modes that each part does not have, and what Airflow says to who asks for them."""
    rows = []
    for part, name in PARTS.items():
        classes = ", ".join(f"``{cls}``" for cls in CLASSES[part])
        given = ", ".join(f"``{argument}={value!r}``" for argument, value in NO_SUCH_MODE.get(part, []))
        why = f"Airflow refuses {given} with a ``TypeError``: {WHY_NO_MODE[part]}." if given else "None."
        rows.append([f"**{name}:** {classes}", why])
    return table(["Part", "Modes that it does not have"], rows)


def applied_by_airflow() -> str:
    """List the options that no code of the package can meet."""
    rows = [[", ".join(f"``{name}``" for name in names), f"{why}."] for why, names in APPLIED_BY_AIRFLOW.items()]
    return table(["Options", "Who applies them"], rows)


def idiom_matrix() -> str:
    """Say for each part and idiom which test plays it, or why it cannot be."""
    rows = []
    for part, (name, _) in {**TASKS, **OTHERS}.items():
        idioms: dict[str, list[str]] = {}
        for idiom, cell in CELLS[part].items():
            text = cell.sentence() if isinstance(cell, Forbidden) else f"``{cell.rpartition('::')[2]}``"
            idioms.setdefault(text, []).append(IDIOMS[idiom])
        rows.append([f"``{name}``", " ".join(f"{', '.join(names)}: {text}." for text, names in idioms.items())])
    return table(["Part", "Idiom: the test, or why it cannot be"], rows)


def kill_matrix(name: str) -> str:
    """Return a table that the system tests have written."""
    return (DOCS / "kill-matrix" / f"{name}.inc").read_text().strip()


def contents() -> str:
    """List all pages by their titles."""
    parts = []
    for caption, pages in CONTENTS.items():
        parts.append(f"**{caption}**\n")
        parts += [f"- [{_title(page)}]({page}.md)" for page in pages]
        parts.append("")
    return "\n".join(parts).strip()


def _title(page: str) -> str:
    return (DOCS / f"{page}.md").read_text().partition("\n")[0].removeprefix("# ")


def _sentences(cells: Mapping[str, Any], columns: dict[str, str]) -> str:
    shared: dict[str, list[str]] = {}
    for column, outcome in cells.items():
        shared.setdefault(outcome if isinstance(outcome, str) else outcome.value, []).append(column)
    return " ".join(f"**{_modes(names, columns)}:** {text}." for text, names in shared.items())


def _modes(columns: list[str], every: dict[str, str]) -> str:
    """Name columns of a table, and a part of which all modes are among them by its name alone."""
    if len(columns) == len(every):
        return "All"
    names = []
    for part, name in PARTS.items():
        of_part = [column for column in every if column.partition("_")[0] == part]
        shared = [column for column in of_part if column in columns]
        names += [name] if shared == of_part else [every[column] for column in shared]
    return ", ".join(names)


GENERATED: dict[str, Callable[..., str]] = {
    "arguments": arguments,
    "browser-arguments": browser_arguments,
    "connection-fields": connection_fields,
    "error-facts": error_facts,
    "error-outcomes": error_outcomes,
    "option-outcomes": option_outcomes,
    "limit-outcomes": limit_outcomes,
    "callback-outcomes": callback_outcomes,
    "airflow-calls": airflow_calls,
    "missing-modes": missing_modes,
    "applied-by-airflow": applied_by_airflow,
    "idiom-matrix": idiom_matrix,
    "kill-matrix": kill_matrix,
    "contents": contents,
}
