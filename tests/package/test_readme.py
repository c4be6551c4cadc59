"""The README: one page, whose code runs as it stands."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LINKS = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
#: One page, as it is printed or shown on a screen.
LONGEST = 100


def test_readme_fits_one_page():
    assert len(README.splitlines()) <= LONGEST


def test_readme_links_lead_to_files_of_the_repository():
    assert len(LINKS) > 10
    assert [link for link in LINKS if not (ROOT / link).exists()] == []


def test_readme_begins_with_the_commands_for_demo_and_tests():
    commands = [text.strip() for language, text in BLOCKS if language == "bash"]
    assert "airflow-kernel demo" in commands[0]
    assert commands[1].endswith("pytest")


def test_readme_first_dag_parses_and_has_its_tasks():
    (dag,) = (text for language, text in BLOCKS if language == "python")
    namespace = {}
    exec(dag, namespace)  # noqa: S102 (our own README)
    assert [task.task_id for task in namespace["find"].dag.tasks] == ["find", "cheapest"]
