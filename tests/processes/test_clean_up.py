"""An operator that ends an invocation as a clean-up, where the set-up may have started none, in ``dag.test()``."""

import json
import sys

import pytest
from support.airflow_home import INLINE_DAGS

#: By clean-up, what the set-up does, and if_missing: the states of the run and of the clean-up.
OUTCOMES = {
    # Airflow runs no teardown of a set-up that failed or was skipped.
    "teardown_with_setup.fails.skip": ["failed", "upstream_failed"],
    "teardown_with_setup.is_skipped.fail": ["success", "skipped"],
    "teardown_with_setup.starts_nothing.skip": ["success", "skipped"],
    "teardown_with_setup.starts_nothing.fail": ["success", "failed"],
    "teardown_with_setup.succeeds.skip": ["success", "success"],
    "teardown.fails.skip": ["failed", "skipped"],
    "teardown.fails.fail": ["failed", "failed"],
    # The run goes by its last tasks: a failure before them does not count, whatever they do but fail.
    "teardown_that_counts.fails.skip": ["success", "skipped"],
    "teardown_that_counts.starts_nothing.fail": ["failed", "failed"],
    "all_done.fails.skip": ["success", "skipped"],
    "all_done.fails.fail": ["failed", "failed"],
    "all_done.is_skipped.skip": ["success", "skipped"],
    "mapped": ["success", "success", "skipped"],
}


@pytest.fixture(scope="module")
def runs(home, module_kernel):
    with home.running([sys.executable, str(INLINE_DAGS / "clean_up.py")], module_kernel) as process:
        assert process.wait(120) == 0, home.output.read_text()
    return json.loads(home.output.read_text().splitlines()[-1])


@pytest.mark.parametrize("case", OUTCOMES)
def test_clean_up_has_the_outcome_that_the_docs_name(case, runs):
    assert runs[case] == OUTCOMES[case]


def test_clean_up_leaves_no_invocation_running(runs, module_kernel):
    assert {invocation.status for invocation in module_kernel.invocations} == {"failed"}
