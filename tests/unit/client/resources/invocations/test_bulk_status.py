"""Looking at many invocations through the list: who answers, and at what cost."""

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_kernel.client.http.pagination import Page
from airflow_provider_kernel.client.resources.invocations.bulk_status import list_active, list_recently_ended
from airflow_provider_kernel.client.resources.invocations.models import Invocation

T0 = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
BOTH = ("queued", "running")


class Kernel:
    """A list of invocations, the newest first; what is asked for, and what happens between two pages, is ours."""

    def __init__(self, **states):
        self.states = states
        self.asked = []
        self.between = lambda: None

    def __call__(self, flow):
        """Carry out a roll call."""
        request = next(flow)
        while True:
            query = dict(request.query)
            self.asked.append((query.get("status"), query.get("since"), query["offset"]))
            offset = int(query["offset"])
            rows = [
                Invocation(id=name, status=status)
                for name, status in reversed(self.states.items())
                if query.get("status") in (None, status)
            ]
            more = offset + 100
            page = Page(tuple(rows[offset:more]), more if more < len(rows) else None)
            self.between()
            try:
                request = flow.send(page)
            except StopIteration as done:
                return done.value


def many(count, status="running", name="r"):
    return {f"{name}{n}": status for n in range(count)}


class TestTheActiveOnes:
    def test_answer_with_a_request_for_a_hundred(self):
        kernel = Kernel(**many(250))
        roll = kernel(list_active(many(250), statuses={"running"}, most=250))
        assert len(roll.found) == 250
        assert (roll.requests, roll.is_complete) == (3, True)
        assert kernel.asked == [("running", None, "0"), ("running", None, "100"), ("running", None, "200")]

    def test_others_are_passed_over(self):
        kernel = Kernel(**many(150, name="other"), mine="queued")
        roll = kernel(list_active({"mine", "gone"}, statuses=BOTH, most=10))
        assert {id_: found.status for id_, found in roll.found.items()} == {"mine": "queued"}

    def test_one_that_begins_to_run_meanwhile_is_there(self):
        kernel = Kernel(mine="queued")
        kernel.between = lambda: kernel.states.update(mine="running")
        assert kernel(list_active({"mine"}, statuses=BOTH, most=10)).found["mine"].status == "running"
        assert [status for status, _, _ in kernel.asked] == ["queued", "running"]

    def test_one_that_ends_meanwhile_may_hide_another(self):
        """Rows move up over the border of a page; so a missing one is never taken for ended."""
        kernel = Kernel(**many(101))
        kernel.between = lambda: kernel.states.update(r100="succeeded")
        roll = kernel(list_active(many(101), statuses={"running"}, most=10))
        assert len(roll.found) == 100
        assert "r0" not in roll.found

    def test_a_list_that_is_too_long_is_not_read_to_its_end(self):
        kernel = Kernel(**many(1000, name="other"))
        roll = kernel(list_active(many(5), statuses=BOTH, most=5))
        assert (roll.requests, roll.is_complete) == (5, False)


class TestTheEndedOnes:
    def test_are_looked_for_from_the_first_start_on(self):
        kernel = Kernel(**many(100, "succeeded"))
        starts = {f"r{n}": T0 + timedelta(seconds=n) for n in range(10, 60)}
        roll = kernel(list_recently_ended(starts))
        assert roll.found.keys() == starts.keys()
        assert kernel.asked == [(None, "2026-01-01T12:00:09Z", "0")]

    @pytest.mark.parametrize("starts", [{}, {"r0": T0}, {"r0": T0, "r1": T0, "r2": None}])
    def test_so_few_are_rather_asked_one_by_one(self, starts):
        with pytest.raises(StopIteration) as end:
            next(list_recently_ended(starts))
        assert end.value.value.found == {}

    def test_it_stops_when_all_are_found(self):
        kernel = Kernel(**many(1000, "succeeded"))
        roll = kernel(list_recently_ended({f"r{n}": T0 for n in range(990, 1000)}))
        assert (len(roll.found), roll.requests) == (10, 1)

    def test_it_stops_where_asking_for_each_is_cheaper(self):
        kernel = Kernel(**many(5, "succeeded"), **many(2000, "failed", name="other"))
        roll = kernel(list_recently_ended({f"r{n}": T0 for n in range(5)}))
        assert (len(roll.found), roll.requests, roll.is_complete) == (0, 3, False)

    def test_it_goes_on_as_long_as_a_page_tells_of_more_than_one(self):
        kernel = Kernel(**many(5000, "succeeded"))
        roll = kernel(list_recently_ended({f"r{n}": T0 for n in range(0, 5000, 50)}))
        assert (len(roll.found), roll.requests) == (100, 50)
