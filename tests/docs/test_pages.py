"""What holds for all pages of the documentation: their code is in files that run, and nothing is missing."""

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

import airflow_provider_kernel.api.errors as errors
from airflow_provider_kernel import get_provider_info
from airflow_provider_kernel.api.dashboard import PLACEHOLDERS
from airflow_provider_kernel.callbacks import (
    cancel_kernel_invocations,
    complete_kernel_invocation,
    fail_kernel_invocation,
)

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(DOCS).with_suffix("").as_posix(): path.read_text()
    for path in sorted(DOCS.rglob("*.md"))
    if path.name != "README.md"
}
#: Where code is that tests run.
RUN = (DOCS / "snippets", ROOT / "dags_examples", ROOT / "kernel_app_example")
README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ERRORS = sorted(
    name for name, cls in vars(errors).items() if inspect.isclass(cls) and issubclass(cls, errors.KernelError)
)


@pytest.fixture(scope="module")
def tables():
    """The extension that builds tables from the code, without Sphinx's part of it where that is not installed."""
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        import code_facts
    finally:
        sys.path.pop(0)
    return code_facts


def blocks(page):
    return FENCE.findall(PAGES[page])


def commands_that_are_run():
    """List the lines that a test or continuous integration runs, or that the README or a benchmark shows."""
    run = [path.read_text() for path in (DOCS / "snippets" / "commands").glob("*.sh")]
    benchmarks = [path.read_text() for path in (ROOT / "tests" / "benchmarks").glob("*.py")]
    return "\n".join([README, (ROOT / ".ci" / "run").read_text(), *run, *benchmarks])


@pytest.mark.parametrize("page", PAGES)
def test_no_code_is_typed_into_a_page(page):
    typed = [language for language, _, _ in blocks(page) if not language.startswith("{")]
    assert set(typed) <= {"bash"}, "put it into a file in docs/snippets, which a test runs, and use literalinclude"
    assert not re.search(r"^(?: {4}|\t)(?:from|import|with|def) ", re.sub(FENCE, "", PAGES[page]), re.MULTILINE)
    assert not re.search(r"code-block|sourcecode|^~~~", PAGES[page], re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one_that_is_run(page):
    for language, _, text in blocks(page):
        if language == "bash":
            for line in text.splitlines():
                assert line in commands_that_are_run(), line


@pytest.mark.parametrize("page", PAGES)
def test_what_it_includes_is_a_file_that_is_run(page):
    folder = (DOCS / page).parent
    for language, argument, _ in blocks(page):
        if language == "{literalinclude}":
            file = (folder / argument.strip()).resolve()
            assert file.is_file(), argument
            assert any(file.is_relative_to(folder) for folder in RUN), argument


def test_every_snippet_is_shown():
    shown = {
        (DOCS / page).parent.joinpath(argument.strip()).resolve()
        for page in PAGES
        for language, argument, _ in blocks(page)
        if language == "{literalinclude}"
    }
    there = {
        path
        for path in (DOCS / "snippets").rglob("*")
        if path.is_file()
        and path.name not in ("pytest.ini", "ruff.toml")
        and not re.search(r"/(__|\.)", path.as_posix())
    }
    assert there - shown == set()


def test_every_page_is_in_the_table_of_contents():
    listed = re.findall(
        r"^[\w/-]+$", "\n".join(text for kind, _, text in blocks("index") if kind == "{toctree}"), re.M
    )
    assert set(PAGES) - {"index"} <= set(listed)
    assert set(listed) <= set(PAGES)
    assert len(listed) == len(set(listed))


def classes():
    """Find all that a DAG can use, in the modules that Airflow is told of."""
    info = get_provider_info()
    for name in info["notifications"]:
        module, _, member = name.rpartition(".")
        yield name, getattr(import_module(module), member)
    for kind in ("operators", "sensors", "triggers"):
        for name in (name for group in info[kind] for name in group["python-modules"]):
            for member, cls in vars(import_module(name)).items():
                if re.fullmatch(r"Kernel(?!Base)\w+(Operator|Sensor|Trigger)", member):
                    yield f"{name}.{member}", cls


CLASSES = dict(classes())


class TestOperators:
    def test_they_were_found(self):
        assert len(CLASSES) >= 7

    @pytest.mark.parametrize("dotted", CLASSES)
    def test_it_has_a_page_with_its_arguments(self, dotted):
        pages = [page for page in PAGES if ("{kernel-arguments}", f" {dotted}") in {b[:2] for b in blocks(page)}]
        assert len(pages) == 1
        assert f"`{dotted.rpartition('.')[2]}`" in PAGES[pages[0]]

    @pytest.mark.parametrize("dotted", CLASSES)
    def test_every_argument_is_explained(self, tables, dotted):
        cls = CLASSES[dotted]
        assert set(tables.argument_defaults(cls)) <= set(tables.documented(cls))

    @pytest.mark.parametrize("dotted", CLASSES)
    def test_what_is_marked_as_templated_is(self, tables, dotted):
        cls = CLASSES[dotted]
        marked = {name for name, text in tables.documented(cls).items() if "(templated)" in text}
        assert marked == set(getattr(cls, "template_fields", ()))

    @pytest.mark.parametrize(
        ("argument", "shown"),
        [
            ("python_callable", "required"),
            ("op_kwargs", "``None``"),
            ("invocation_id", "from the DAG run"),
            ("include_traceback", "``False``"),
        ],
    )
    def test_the_default_is_that_of_whichever_class_takes_the_argument(self, tables, argument, shown):
        cls = CLASSES["airflow_provider_kernel.operators.invocation_task.KernelInvocationTaskOperator"]
        text = tables.documented(cls)[argument]
        assert tables.shown_default(tables.default_of(cls, argument), text) == shown

    @pytest.mark.parametrize(
        ("words", "page"),
        [
            (f"`{cancel_kernel_invocations.__name__}`", "operators/callback"),
            (f"`{complete_kernel_invocation.__name__}()`", "operators/notifier"),
            (f"`{fail_kernel_invocation.__name__}()`", "operators/notifier"),
            (f"`@task.{get_provider_info()['task-decorators'][0]['name']}`", "operators/answer"),
            *((f"`{name.rpartition('.')[2]}`", "operators/links") for name in get_provider_info()["extra-links"]),
        ],
    )
    def test_what_is_no_class_with_arguments_has_a_page_too(self, words, page):
        assert words in PAGES[page]

    def test_the_placeholders_of_links_are_explained(self):
        assert set(re.findall(r"^\| `\{(\w+)\}` \|", PAGES["operators/links"], re.M)) == set(PLACEHOLDERS)

    def test_the_variables_of_the_kernel_app_are_explained(self):
        read = re.findall(
            r"environ(?:\.get\(|\[)[\"'](\w+)[\"']", (ROOT / "kernel_app_example" / "app.py").read_text()
        )
        assert sorted(re.findall(r"^\| `(\w+)` \|", PAGES["operators/kernel-app"], re.M)) == sorted(read)


class TestErrors:
    def test_each_has_a_section_that_says_what_to_do(self):
        sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGES["errors"], re.MULTILINE | re.DOTALL))
        assert sorted(sections) == ERRORS
        for name, text in sections.items():
            assert ("{kernel-error}", f" {name}") in {(kind, argument) for kind, argument, _ in FENCE.findall(text)}
            assert "**What to do:**" in text, name


class TestConnection:
    def test_the_fields_of_the_form_are_there(self):
        (connection,) = get_provider_info()["connection-types"]
        assert "{kernel-connection-fields}" in {kind for kind, _, _ in blocks("connection")}
        behaviour = connection["ui-field-behaviour"]
        for field in {"password", "host", "port"} - set(behaviour["hidden-fields"]):
            shown = behaviour["relabeling"].get(field, field.capitalize())
            assert f"| {shown} |" in PAGES["connection"]


class TestWhatHappens:
    STARTED = "| The task | The invocation | The next try |"
    WAITING = "| The task | The invocation |"

    @staticmethod
    def rows(text, columns):
        """Read the rows of all tables whose columns are these."""
        found = []
        for table in re.findall(rf"^{re.escape(columns)}\n\|.*\n((?:\|.*\n)+)", text, re.M):
            found += [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in table.splitlines()]
        return found

    @pytest.mark.parametrize(("columns", "at_least"), [(STARTED, 20), (WAITING, 12)], ids=["started", "waiting"])
    def test_the_page_says_what_the_readme_says(self, columns, at_least):
        readme, page = self.rows(README, columns), self.rows(PAGES["what-happens"], columns)
        assert len(readme) >= at_least
        assert set(readme) - set(page) == set(), "the README has rows that docs/what-happens.md has not"
        assert set(page) - set(readme) == set(), "docs/what-happens.md has rows that the README has not"
        assert len(page) == len(readme)
