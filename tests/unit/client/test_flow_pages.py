"""Lists, page by page: pages that are too large, lists without an end, answers that do not say if more follow."""

from __future__ import annotations

import pytest

from airflow_provider_kernel.client import flow
from airflow_provider_kernel.client.errors import (
    KernelResponseError,
    KernelResponseTooLargeError,
    KernelRowTooLargeError,
)
from airflow_provider_kernel.client.flow import Emit, list_rows
from airflow_provider_kernel.client.http.pagination import Page
from airflow_provider_kernel.client.resources.invocations.requests import list_invocations

#: The most bytes of an answer.
BOUND = 1000


class Kernel:
    """
    A list of rows with a size each.

    :param has_paging: whether its answers say if there are more.
    """

    def __init__(self, *sizes, has_paging=True):
        self.sizes = list(sizes)
        self.has_paging = has_paging
        self.requests = []
        self.unreadable = []

    def read(self, stream):
        """Read a list; give the numbers of the rows."""
        rows = []
        step = next(stream)
        while True:
            try:
                if isinstance(step, Emit):
                    rows += step.items
                    step = stream.send(None)
                    continue
                try:
                    page = self.page(int(dict(step.query)["offset"]), int(dict(step.query)["limit"]))
                except KernelResponseTooLargeError as error:
                    step = stream.throw(error)
                else:
                    step = stream.send(page)
            except StopIteration:
                return rows

    def page(self, offset, limit):
        self.requests.append((offset, limit))
        sizes = self.sizes[offset : offset + limit]
        if sum(sizes) > BOUND:
            raise KernelResponseTooLargeError("the body is too large")
        rows = tuple(range(offset, offset + len(sizes)))
        more = offset + limit if self.has_paging and offset + limit < len(self.sizes) else None
        return Page(rows, more, has_paging=self.has_paging, size=sum(sizes))


@pytest.fixture(autouse=True)
def bound(monkeypatch):
    monkeypatch.setattr(flow, "MAX_RESPONSE_BYTES", BOUND)


def rows_of(kernel, **options):
    return kernel.read(list_rows(list_invocations(), **options))


@pytest.mark.parametrize("snapshot", [False, True])
class TestTooLarge:
    def test_page_that_is_too_large_is_read_in_halves(self, snapshot):
        kernel = Kernel(*[30] * 100)
        assert rows_of(kernel, snapshot=snapshot) == list(range(100))
        assert kernel.requests[:4] == [(0, 100), (0, 50), (0, 25), (25, 25)]
        assert len(kernel.requests) == 6

    def test_pages_grow_again_after_large_rows(self, snapshot):
        kernel = Kernel(*[900] * 3, *[1] * 300)
        assert rows_of(kernel, snapshot=snapshot) == list(range(303))
        assert len(kernel.requests) < 25
        assert kernel.requests[-1][1] == 100

    def test_row_that_is_too_large_does_not_hide_the_others(self, snapshot):
        kernel = Kernel(*[1] * 150)
        kernel.sizes[7] = kernel.sizes[149] = BOUND + 1
        assert rows_of(kernel, snapshot=snapshot) == [n for n in range(150) if n not in (7, 149)]

    def test_object_that_starts_between_two_pages_of_one_row_stops_nothing(self, snapshot):
        kernel = Kernel(*[900] * 10)
        page = kernel.page
        shift = 0

        def page_after_a_start(offset, limit):
            nonlocal shift
            shift = min(offset, 1)  # from now on, each row is one place further back
            found = page(offset, limit)
            return Page(tuple(row - shift for row in found.items), found.next_offset)

        kernel.page = page_after_a_start
        assert rows_of(kernel, snapshot=snapshot) == [0, *range(9)]

    def test_many_rows_that_are_too_large_are_an_error_of_their_own(self, snapshot):
        kernel = Kernel(*[BOUND + 1] * 100)
        with pytest.raises(KernelRowTooLargeError, match=r"more than 10 rows .* at offset 10"):
            rows_of(kernel, snapshot=snapshot)
        assert len(kernel.requests) < 30


class TestEndless:
    @pytest.mark.parametrize(("snapshot", "most"), [(True, "MAX_LIST_PAGES"), (False, "MAX_WALKED_PAGES")])
    def test_list_that_always_has_more_is_an_error(self, snapshot, most, monkeypatch):
        monkeypatch.setattr(flow, most, 20)
        kernel = Kernel(*[0] * 10_000)
        with pytest.raises(KernelResponseError, match=r"does not end after 20 pages.*Narrow the list"):
            rows_of(kernel, snapshot=snapshot)
        assert len(kernel.requests) == 20

    def test_bounds_leave_room_for_all_that_starts_in_an_hour(self):
        assert flow.MAX_LIST_PAGES * 100 / 3600 > 25  # starts a second
        assert flow.MAX_WALKED_PAGES > flow.MAX_LIST_PAGES


class TestWithoutPaging:
    @pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
    def test_full_page_that_does_not_say_whether_it_is_the_last_is_followed(self, count):
        kernel = Kernel(*[0] * count, has_paging=False)
        assert rows_of(kernel) == list(range(count))
        assert len(kernel.requests) == count // 100 + 1

    def test_list_that_repeats_itself_is_an_error(self):
        kernel = Kernel(*[0] * 100, has_paging=False)
        kernel.page = lambda offset, limit: Page(tuple(range(100)), None, has_paging=False)
        with pytest.raises(KernelResponseError, match="repeats itself at offset 1100"):
            rows_of(kernel)


def test_snapshot_reads_the_whole_list_before_the_first_row():
    kernel = Kernel(*[0] * 250)
    stream = list_rows(list_invocations(), snapshot=True)
    step = next(stream)
    while not isinstance(step, Emit):
        step = stream.send(kernel.page(int(dict(step.query)["offset"]), 100))
    assert list(step.items) == list(range(250))
