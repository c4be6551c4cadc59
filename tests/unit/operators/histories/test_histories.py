"""
Made-up histories of tasks: never two invocations at a time, none left behind, none cancelled that should go on.

A history is a sequence of tries of one task, or of mapped siblings that ask for the same. Each try has trouble with
its start, something happens to it at some point (its process crashes, it is killed or cleared, contact is lost, the
invocation ends), and something may happen before the next one. A crash is the end of all effects: from that point
on nothing that the process still does gets to Airflow or to Kernel.

Hypothesis makes up some 300, with those of the other module; ``HISTORIES=2000`` in the environment makes up more,
at about 0.2 s each. (Not ``KERNEL_HISTORIES``: the tests forget whatever begins with ``KERNEL_``.)
"""

import pytest
from hypothesis import Phase, given, strategies as st
from support.histories.history import History
from support.histories.plans import ALONE, CRASHING, ORDERLY, TRIES, Try
from support.histories.settings import EXAMPLES, REMEMBERS, histories

from airflow_provider_kernel.lifecycle.ledger import Ledger

pytestmark = pytest.mark.timeout(60 + 2 * EXAMPLES)


@pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferrable"])
class TestHistories:
    @pytest.mark.needs_airflow("3.3", REMEMBERS)
    @histories(EXAMPLES * 3 // 20)
    @given(tries=ALONE, marked=st.booleans())
    def test_histories_of_one_task(self, deferrable, kernel, tries, marked):
        History(kernel, deferrable=deferrable, marked=marked).live(tries)

    @pytest.mark.needs_airflow("3.3", REMEMBERS)
    @histories(EXAMPLES // 20)
    @given(tries=st.lists(st.tuples(st.just(0), CRASHING), min_size=1, max_size=5), marked=st.booleans())
    def test_histories_of_crashes_only(self, deferrable, kernel, tries, marked):
        History(kernel, deferrable=deferrable, marked=marked).live(tries)

    @histories(EXAMPLES // 30)
    @given(tries=st.lists(st.tuples(st.just(0), ORDERLY), min_size=1, max_size=6))
    def test_histories_of_orderly_ends_on_every_version(self, deferrable, kernel, tries):
        History(kernel, deferrable=deferrable, marked=True).live(tries)

    @pytest.mark.needs_airflow("3.3", REMEMBERS)
    @histories(EXAMPLES // 20)
    @given(
        tries=st.lists(st.tuples(st.integers(0, 2), TRIES), min_size=2, max_size=9),
        siblings=st.integers(2, 3),
    )
    def test_histories_of_mapped_siblings_with_equal_payloads(self, deferrable, kernel, tries, siblings):
        History(kernel, siblings=siblings, deferrable=deferrable).live(tries)


@pytest.mark.needs_airflow("3.3", REMEMBERS)
@pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferrable"])
@pytest.mark.parametrize("crashed", ["before the id is stored", "after the id is stored"])
@pytest.mark.parametrize("killed", ["after the search for what was started", "before the id is stored"])
def test_kill_during_a_reconnect_cancels_the_invocation(deferrable, crashed, killed, kernel):
    tries = [
        Try("ok", what, early=True, then=None, cleared=False) for what in (("crash", crashed), ("kill", killed))
    ]
    history = History(kernel, deferrable=deferrable)
    history.live([(0, plan) for plan in tries])
    assert [record.status for record in history.tasks[0].records] == ["failed", "succeeded"]


@pytest.mark.needs_airflow("3.3", REMEMBERS)
@pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferrable"])
def test_histories_fail_without_the_ledger(deferrable, kernel):
    @histories(200, phases=[Phase.generate])
    @given(tries=ALONE)
    def without(tries):
        History(kernel, deferrable=deferrable, durable=False).live(tries)

    with pytest.raises(AssertionError, match=r"two at a time|ran twice|started anew"):
        without()


@pytest.mark.needs_airflow("3.3", REMEMBERS)
@pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferrable"])
def test_histories_fail_without_the_intent(deferrable, kernel, monkeypatch):
    write = Ledger._write
    monkeypatch.setattr(
        Ledger, "_write", lambda ledger, record: write(ledger, record) if record.external_id else record
    )

    @histories(200, phases=[Phase.generate])
    @given(tries=ALONE)
    def without(tries):
        History(kernel, deferrable=deferrable).live(tries)

    with pytest.raises(AssertionError, match=r"two at a time|ran twice|started anew|left"):
        without()
