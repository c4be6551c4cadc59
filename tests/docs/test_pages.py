"""What holds for all pages of the documentation: they show code that runs as it is, and nothing is missing."""

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from airflow_provider_kernel import client, get_provider_info
from airflow_provider_kernel.callbacks import (
    cancel_kernel_invocations,
    cancel_kernel_task_invocation,
    complete_kernel_invocation,
    fail_kernel_invocation,
    kernel_safety_net,
    kernel_task_safety_net,
)
from airflow_provider_kernel.client.dashboard import PLACEHOLDERS

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
PUBLIC = {name: getattr(client, name) for name in client.__all__}
ERRORS = sorted(
    name
    for name, cls in PUBLIC.items()
    if inspect.isclass(cls) and issubclass(cls, client.KernelError) and name == cls.__name__  # no former name
)


@pytest.fixture(scope="module", autouse=True)
def _modules_of_the_docs():
    """Make the modules importable that write the pages."""
    sys.path[:0] = [str(DOCS), str(DOCS / "_ext")]
    yield
    del sys.path[:2]


@pytest.fixture(scope="module")
def tables():
    """The facts of the tables."""
    import code_facts

    return code_facts


def blocks(page):
    return FENCE.findall(PAGES[page])


def codes(page):
    """List the words of the marks above code: a file, and what of it."""
    return re.findall(r"^<!-- code: (.*?) -->\n```\w", PAGES[page], re.MULTILINE)


def generated(page):
    """List the words of the marks around what is generated."""
    return re.findall(r"^<!-- generated: (.*?) -->$", PAGES[page], re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_page_is_as_the_command_writes_it(page):
    from write_pages import written

    path = DOCS / f"{page}.md"
    assert path.read_text() == written(path), "uv run python docs/write_pages.py"


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith("api/")])
def test_page_reads_well_without_being_built(page):
    assert not re.findall(r"^(?:```|:::)\{.*", PAGES[page], re.MULTILINE), "directives show as they are typed"
    assert not re.findall(r"\{(?:py:)?(?:class|meth|func|mod|doc|ref)\}`", PAGES[page]), (
        "roles show as they are typed"
    )


def commands_that_are_run():
    """List the commands that a test or continuous integration runs, or that the README or a benchmark shows."""
    # A page that shows commands of "not_run" says so.
    run = [
        path.read_text() for folder in ("commands", "not_run") for path in (DOCS / "snippets" / folder).glob("*.sh")
    ]
    benchmarks = [path.read_text() for path in (ROOT / "tests" / "benchmarks").glob("*.py")]
    return "\n".join([README, (ROOT / ".ci" / "run").read_text(), *run, *benchmarks])


@pytest.mark.parametrize("page", PAGES)
def test_page_has_no_code_but_that_of_files_that_are_run(page):
    unmarked = re.sub(r"^<!-- code: .*? -->\n" + FENCE.pattern[1:], "", PAGES[page], flags=FENCE.flags)
    typed = {language for language, _, _ in FENCE.findall(unmarked)} - {"{eval-rst}"}
    allowed = {"bash", "text"} if page == "architecture" else {"bash"}  # its picture is no code
    assert typed <= allowed, "put it into a file in docs/snippets, which a test runs, and mark it as code"
    assert not re.search(r"^(?: {4}|\t)(?:from|import|with|def) ", re.sub(FENCE, "", PAGES[page]), re.MULTILINE)
    assert not re.search(r"code-block|sourcecode|^~~~", PAGES[page], re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_page_shows_only_commands_that_are_run(page):
    commands = re.sub(r"^<!-- code: \S+\.env.*? -->\n" + FENCE.pattern[1:], "", PAGES[page], flags=FENCE.flags)
    for language, _, text in FENCE.findall(commands):
        if language == "bash":
            for line in text.splitlines():
                assert line in commands_that_are_run(), line


@pytest.mark.parametrize("page", PAGES)
def test_page_shows_only_files_that_are_run(page):
    for words in codes(page):
        file = (DOCS / page).parent.joinpath(words.split()[0]).resolve()
        assert file.is_file(), words
        assert any(file.is_relative_to(folder) for folder in RUN), words


def test_page_with_commands_that_are_not_run_says_so():
    pages = [page for page in PAGES if any("/not_run/" in words for words in codes(page))]
    assert pages
    assert [page for page in pages if not re.search(r"not run (here|by this project's\s+tests)", PAGES[page])] == []


def test_contributing_shows_only_commands_that_exist():
    """Its table has them in backticks; a path in one must be there, an option of the test suites must be known."""
    commands = re.findall(r"^\| `((?:uv run|bash) [^`]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        for path in re.findall(r"(?<!\S)(?:tests|docs|\.ci)(?:/\S+)?(?!\S)", command):
            assert (ROOT / path).exists(), command
    rooms = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")} | {"unit"}
    assert rooms - set(re.findall(r"tests/(\w+)", " ".join(commands))) == {"conformance"}


def test_every_snippet_is_shown_on_a_page():
    shown = {(DOCS / page).parent.joinpath(words.split()[0]).resolve() for page in PAGES for words in codes(page)}
    there = {
        path
        for path in (DOCS / "snippets").rglob("*")
        if path.is_file()
        and path.name not in ("pytest.ini", "ruff.toml")
        and not re.search(r"/(__|\.)", path.as_posix())
    }
    assert there - shown == set()


def test_every_page_is_in_the_table_of_contents():
    from contents import CONTENTS

    listed = [page for pages in CONTENTS.values() for page in pages]
    assert set(PAGES) - {"index"} <= set(listed)
    assert set(listed) <= set(PAGES)
    assert len(listed) == len(set(listed))


def test_every_example_is_on_the_page_of_examples():
    linked = re.findall(r"\(\.\./dags_examples/(\w+\.py)\)", PAGES["examples"])
    assert sorted(linked) == sorted(path.name for path in (ROOT / "dags_examples").glob("*.py"))


@pytest.mark.parametrize("page", ["what-happens", "kill-matrix", "performance"])
def test_page_of_long_tables_begins_with_a_summary_of_three_lines(page):
    assert re.match(r"# .*\n\n(?:- .*\n){3}\n", PAGES[page])


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ("operators/callback", "changelog")])
def test_safety_net_callback_is_linked_where_a_page_first_names_it(page):
    named = re.search(r"\[?(?:the )?safety\s+net.*", PAGES[page], re.IGNORECASE)
    assert named is None or re.match(r"\[[^]]+\]\((?:operators/)?callback\.md\)", named[0]), named[0]


def test_kill_matrix_summary_agrees_with_its_tables():
    tables = [(DOCS / "kill-matrix" / f"{executor}.inc").read_text() for executor in ("local", "celery")]
    totals = "".join(re.findall(r"^\d+ scenarios\..*$", "\n".join(tables), re.MULTILINE))
    scenarios = [int(number) for number in re.findall(r"(\d+) scenarios", totals)]
    assert [len(re.findall(r"^\| (?!row |---)", table, re.MULTILINE)) for table in tables] == scenarios
    medians = re.findall(r"Airflow's call to cancelled: median ([\d.]+) s", totals)
    worst = max(re.findall(r"Airflow's call to cancelled: median [\d.]+ s, worst ([\d.]+) s", totals), key=float)
    summary = PAGES["kill-matrix"].split("\n\n")[1]
    assert f"all {sum(scenarios)} scenarios" in summary
    assert f"at worst {worst} s, median {' s and '.join(medians)} s" in summary
    of_browsers = [
        (DOCS / "kill-matrix" / f"{executor}-browsers.inc").read_text() for executor in ("local", "celery")
    ]
    scenarios = [len(re.findall(r"^\| (?!row |---)", table, re.MULTILINE)) for table in of_browsers]
    assert f"all {sum(scenarios)} with a browser" in summary


def classes():
    """Find all that a DAG can use, in the modules that Airflow reads from the provider's metadata."""
    info = get_provider_info()
    for name in info["notifications"]:
        module, _, member = name.rpartition(".")
        yield name, getattr(import_module(module), member)
    for kind in ("operators", "sensors", "triggers"):
        for name in (name for group in info[kind] for name in group["python-modules"]):
            for member, cls in inspect.getmembers(import_module(name)):
                if re.fullmatch(r"Kernel(?!Base)\w+(Operator|Sensor|Trigger)", member):
                    yield f"{name}.{member}", cls


CLASSES = dict(classes())
#: What a DAG can use that is no class with arguments, and its page.
OTHERS = {
    f"`{cancel_kernel_invocations.__name__}`": "operators/callback",
    f"`{kernel_safety_net.__name__}`": "operators/callback",
    f"`{cancel_kernel_task_invocation.__name__}`": "operators/callback",
    f"`{kernel_task_safety_net.__name__}`": "operators/callback",
    f"`{complete_kernel_invocation.__name__}()`": "operators/notifier",
    f"`{fail_kernel_invocation.__name__}()`": "operators/notifier",
    "`@task.kernel_browser`": "operators/browser",
    "`@task.kernel_invocation`": "operators/answer",
    **{f"`{name.rpartition('.')[2]}`": "operators/links" for name in get_provider_info()["extra-links"]},
}


def test_classes_of_operators_sensor_and_triggers_were_found():
    assert len(CLASSES) >= 7


def test_every_decorator_has_a_page():
    assert {f"`@task.{each['name']}`" for each in get_provider_info()["task-decorators"]} <= set(OTHERS)


@pytest.mark.parametrize("dotted", CLASSES)
def test_class_has_one_page_with_its_arguments(dotted):
    pages = [page for page in PAGES if f"arguments {dotted}" in generated(page)]
    assert len(pages) == 1
    assert f"`{dotted.rpartition('.')[2]}`" in PAGES[pages[0]]


@pytest.mark.parametrize("dotted", CLASSES)
def test_class_explains_every_argument(tables, dotted):
    cls = CLASSES[dotted]
    assert set(tables.argument_defaults(cls)) <= set(tables.documented(cls))


@pytest.mark.parametrize("dotted", CLASSES)
def test_class_marks_exactly_its_templated_arguments(tables, dotted):
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
def test_argument_default_is_that_of_the_class_that_takes_it(tables, argument, shown):
    cls = CLASSES["airflow_provider_kernel.operators.invocation_task.KernelInvocationTaskOperator"]
    text = tables.documented(cls)[argument]
    assert tables.shown_default(tables.default_of(cls, argument), text) == shown


@pytest.mark.parametrize(("words", "page"), OTHERS.items())
def test_callback_decorator_and_link_have_a_page(words, page):
    assert words in PAGES[page]


@pytest.mark.parametrize("name", [*(dotted.rpartition(".")[2] for dotted in CLASSES), *OTHERS])
def test_readme_table_names_everything_a_dag_can_use(name):
    table = README.split("## What there is")[1].split("\n## ")[0]
    assert f"`{name.strip('`').removesuffix('()')}`" in table


def test_link_placeholders_are_explained():
    assert set(re.findall(r"^\| `\{(\w+)\}` \|", PAGES["operators/links"], re.M)) == set(PLACEHOLDERS)


def test_kernel_app_variables_are_explained():
    read = re.findall(r"environ(?:\.get\(|\[)[\"'](\w+)[\"']", (ROOT / "kernel_app_example" / "app.py").read_text())
    assert sorted(re.findall(r"^\| `(\w+)` \|", PAGES["operators/kernel-app"], re.M)) == sorted(read)


def test_every_error_has_a_section_that_says_what_to_do():
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGES["errors"], re.MULTILINE | re.DOTALL))
    assert sorted(sections) == ERRORS
    for name, text in sections.items():
        assert f"<!-- generated: error-facts {name} -->" in text
        assert "**What to do:**" in text, name


def test_connection_form_fields_are_explained():
    (connection,) = get_provider_info()["connection-types"]
    assert "connection-fields" in generated("connection")
    behaviour = connection["ui-field-behaviour"]
    for field in {"password", "host", "port"} - set(behaviour["hidden-fields"]):
        shown = behaviour["relabeling"].get(field, field.capitalize())
        assert f"| {shown} |" in PAGES["connection"]
