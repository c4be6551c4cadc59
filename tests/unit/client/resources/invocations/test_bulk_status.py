"""The status of many invocations from the list, and the number of requests that it costs."""

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_kernel.client.http.pagination import Page
from airflow_provider_kernel.client.resources.invocations.bulk_status import poll_list
from airflow_provider_kernel.client.resources.invocations.models import Invocation

T0 = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


class Kernel:
    """A list of invocations, the newest first, that a test may change between two pages."""

    def __init__(self, **states):
        self.states = states
        self.requests = []
        self.found = {}
        self.missing = set()
        self.between = lambda: None

    def poll(self, wanted, *, status=None, starts=None):
        """Poll for invocations whose last known status is ``status``."""
        known = {
            name: status and Invocation(id=name, status=status, started_at=(starts or {}).get(name, T0).isoformat())
            for name in wanted
        }
        self.missing = set(wanted)
        return self._run(poll_list(known, self.missing, self._publish))

    def _publish(self, invocation):
        self.found[invocation.id] = invocation.status

    def _run(self, flow):
        try:
            request = next(flow)
            while True:
                query = dict(request.query)
                self.requests.append((query.get("status"), query.get("since"), query["offset"]))
                page = self._page(query)
                self.between()
                request = flow.send(page)
        except StopIteration as done:
            return done.value

    def _page(self, query):
        offset = int(query["offset"])
        rows = [
            Invocation(id=name, status=status)
            for name, status in reversed(self.states.items())
            if query.get("status") in (None, status)
        ]
        after = offset + 100
        return Page(tuple(rows[offset:after]), after if after < len(rows) else None)


def many(count, status="running", name="r"):
    return {f"{name}{n}": status for n in range(count)}


class TestActiveInvocations:
    def test_one_request_shows_a_hundred_invocations(self):
        kernel = Kernel(**many(250))
        assert kernel.poll(many(250)) is True
        assert kernel.found == many(250)
        assert kernel.missing == set()
        assert kernel.requests == [("running", None, "0"), ("running", None, "100"), ("running", None, "200")]

    def test_invocations_that_are_not_wanted_are_not_published(self):
        kernel = Kernel(**many(150, name="other"), mine="queued")
        assert kernel.poll({"mine", "gone"}) is True
        assert kernel.found == {"mine": "queued"}
        assert kernel.missing == {"gone"}

    def test_an_invocation_that_is_known_to_run_is_not_sought_among_the_queued_ones(self):
        kernel = Kernel(ended="succeeded")
        kernel.poll({"ended"}, status="running")
        assert [status for status, _, _ in kernel.requests] == ["running"]

    def test_an_ended_invocation_hides_another_one_which_counts_as_missing(self):
        """Rows shift between pages, so a missing invocation need not have ended."""
        kernel = Kernel(**many(101))
        kernel.between = lambda: kernel.states.update(r100="succeeded")
        kernel.poll(many(101), status="running")
        assert kernel.missing == {"r0"}

    def test_a_list_of_others_is_given_up_and_not_worth_reading_again(self):
        kernel = Kernel(**many(1000, name="other"))
        assert kernel.poll(many(5)) is False
        assert len(kernel.requests) == 3

    def test_a_list_that_shows_less_than_half_is_not_worth_reading_again(self):
        kernel = Kernel(**many(4))
        assert kernel.poll(many(9)) is False
        assert kernel.poll(many(8)) is True


class TestEndedInvocations:
    def test_the_list_of_all_begins_a_second_before_the_first_start(self):
        kernel = Kernel(**many(100, "succeeded"))
        starts = {f"r{n}": T0 + timedelta(seconds=n) for n in range(10, 60)}
        assert kernel.poll(starts, status="running", starts=starts) is True
        assert kernel.found.keys() == starts.keys()
        assert kernel.requests[-1] == (None, "2026-01-01T12:00:09Z", "0")

    @pytest.mark.parametrize(("wanted", "status"), [(2, "running"), (5, None)], ids=["two", "of unknown start"])
    def test_a_few_ended_invocations_are_not_worth_the_list_of_all(self, wanted, status):
        kernel = Kernel(**many(5, "succeeded"))
        kernel.poll(many(wanted), status=status)
        assert kernel.found == {}
        assert all(listed is not None for listed, _, _ in kernel.requests)

    def test_the_list_of_all_is_left_when_all_are_found(self):
        kernel = Kernel(**many(1000, "succeeded"))
        assert kernel.poll({f"r{n}" for n in range(990, 1000)}, status="running") is True
        assert kernel.requests[1:] == [(None, "2026-01-01T11:59:59Z", "0")]

    def test_the_list_of_all_is_given_up_where_single_requests_are_cheaper(self):
        kernel = Kernel(**many(5, "succeeded"), **many(2000, "failed", name="other"))
        kernel.poll(many(5), status="running")
        assert (kernel.found, len(kernel.requests)) == ({}, 1 + 3)

    @pytest.mark.parametrize("step", [50, 100])
    def test_the_list_of_all_is_read_on_while_a_page_shows_one_invocation(self, step):
        kernel = Kernel(**many(5000, "succeeded"))
        wanted = {f"r{n}" for n in range(0, 5000, step)}
        assert kernel.poll(wanted, status="running") is True
        assert (len(kernel.found), len(kernel.requests)) == (len(wanted), 1 + 50)
