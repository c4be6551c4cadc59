"""
Histories in which Kernel is down for a while, old processes come back, and a user marks a task between its tries.

The clock is one that a pause moves on at once. An outage begins at some point of a try, and lasts from less than a
kill to longer than every budget. A process that is suspended goes on at some point of the next try, and gets its
SIGTERM there. Each request that cancels is judged when it is sent.
"""

from dataclasses import replace

import pytest
from hypothesis import Phase, given, strategies as st
from support.histories.history import History
from support.histories.plans import (
    CLEARED_WHILE_DOWN,
    FIRST_ACT,
    IN_FLIGHT,
    QUIET,
    RETURNING,
    TROUBLED,
    Return,
    alone,
)
from support.histories.settings import EXAMPLES, REMEMBERS, histories

from airflow_provider_kernel.lifecycle.fencing import Answer, Fence
from airflow_provider_kernel.lifecycle.ledger import Ledger
from airflow_provider_kernel.lifecycle.task_instances import TaskState

pytestmark = [
    pytest.mark.timeout(60 + 2 * EXAMPLES),
    pytest.mark.needs_airflow("3.3", REMEMBERS),
    pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferrable"]),
]


@histories(EXAMPLES * 2 // 15)
@given(tries=alone(TROUBLED), marked=st.booleans())
def test_histories_of_outages_returns_and_marks(deferrable, kernel, tries, marked):
    History(kernel, deferrable=deferrable, marked=marked).live(tries)


@histories(EXAMPLES // 20)
@given(tries=alone(RETURNING), marked=st.booleans())
def test_histories_of_old_processes_that_return(deferrable, kernel, tries, marked):
    History(kernel, deferrable=deferrable, marked=marked).live(tries)


@histories(EXAMPLES // 30)
@given(tries=st.lists(st.tuples(st.integers(0, 2), TROUBLED), min_size=2, max_size=8), siblings=st.integers(2, 3))
def test_histories_of_outages_over_mapped_siblings(deferrable, kernel, tries, siblings):
    History(kernel, siblings=siblings, deferrable=deferrable).live(tries)


@pytest.mark.parametrize("point", [FIRST_ACT, "after the intent is stored", IN_FLIGHT, "after the id is stored"])
@pytest.mark.parametrize("back", [FIRST_ACT, "while waiting"])
def test_old_process_that_was_starting_leaves_the_next_try_alone(deferrable, kernel, point, back):
    suspended = replace(QUIET, what=("suspend", point), returns=Return(back, "SIGTERM"))
    history = History(kernel, deferrable=deferrable)
    history.live([(0, suspended)])
    assert [record.status for record in history.tasks[0].records] == ["succeeded"]


@pytest.mark.parametrize(
    ("owner", "question", "answer"),
    [
        pytest.param(Fence, "ask", lambda fence, record: Answer(True, TaskState.UNKNOWN), id="the fence"),
        pytest.param(Ledger, "has_lost_access", lambda ledger: False, id="the ledger"),
    ],
)
def test_histories_fail_where_a_process_does_not_ask_whether_it_is_old(
    owner, question, answer, deferrable, kernel, monkeypatch
):
    monkeypatch.setattr(owner, question, answer)

    @histories(400, phases=[Phase.generate])
    @given(tries=alone(RETURNING))
    def without(tries):
        History(kernel, deferrable=deferrable).live(tries)

    with pytest.raises(AssertionError, match="ended by an old process"):
        without()


def test_histories_fail_without_the_number_of_clears(deferrable, kernel):
    @histories(400, phases=[Phase.generate])
    @given(tries=alone(st.one_of(CLEARED_WHILE_DOWN, RETURNING)), marked=st.booleans())
    def without(tries, marked):
        History(kernel, deferrable=deferrable, marked=marked, counts_clears=False).live(tries)

    with pytest.raises(AssertionError, match="the result of a thrown-away try"):
        without()
