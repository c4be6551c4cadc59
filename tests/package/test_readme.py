"""The code in the README runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LINKS = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
DAGS = [block for block in BLOCKS if "with DAG(" in block]
TESTS = [block for block in BLOCKS if "def test_" in block]


def test_every_link_into_the_repository_leads_somewhere():
    assert len(LINKS) > 15
    assert [link for link in LINKS if not (ROOT / link).exists()] == []


def test_every_example_is_linked():
    assert {path.name for path in (ROOT / "dags_examples").glob("*.py")} == {
        Path(link).name for link in LINKS if link.startswith("dags_examples/")
    }


def test_every_block_is_a_dag_or_a_test():
    assert len(DAGS) == 4
    assert len(TESTS) == 1
    assert len(BLOCKS) == 5


@pytest.mark.parametrize("block", DAGS)
def test_the_dags_parse(block):
    exec(block, {})  # noqa: S102 (our own README)


def test_the_first_dag_has_its_tasks():
    namespace = {}
    exec(DAGS[0], namespace)  # noqa: S102
    assert [task.task_id for task in namespace["find"].dag.tasks] == ["find", "cheapest"]


@pytest.mark.parametrize("block", TESTS)
def test_the_test_with_the_emulator_passes(block, tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_readme.py").write_text(block)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
