"""What each example DAG does, and how its tasks and invocations must end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ExpectedTask:
    """
    How a task instance ends.

    :param name: the task ID, with the map index of a mapped task, such as ``visit[0]``.
    :param state: the task instance's state.
    :param invocation: the final status of the task's invocation; None if the task has none.
    :param output: that invocation's output; without an invocation, the task's return value.
    """

    name: str
    state: str
    invocation: str | None
    output: Any


@dataclass(frozen=True)
class Example:
    """
    An example DAG.

    :param shows: what it shows, in a few words.
    :param actions: the action of each invocation that it starts.
    :param tasks: the expected end of each task instance.
    :param kill: send the task a SIGTERM, as Airflow does when a task is marked as failed, once its invocation is
        running and has a browser.
    :param caller: the action of an invocation that the demo starts first, and whose ID it passes to the DAG run: it
        waits for an answer. It is one of ``actions``.
    :param answer: the expected status and output of that invocation.
    :param conf: the conf of the DAG run.
    :param browsers: how many browsers of their own its tasks start. They need Chromium and Playwright here.
    :param needs_site: whether it gets the address of a small site on this machine, as ``site`` in the conf.
    """

    shows: str
    actions: tuple[str, ...]
    tasks: tuple[ExpectedTask, ...]
    kill: bool = False
    caller: str | None = None
    answer: tuple[str, Any] | None = None
    conf: Mapping[str, Any] = field(default_factory=dict)
    browsers: int = 0
    needs_site: bool = False


def _page(*quotes: tuple[str, str]) -> str:
    """Make the address of a page whose script writes quotes, as that of the public page does: author and text."""
    rows = [
        f"<div class=quote><span class=text>{text}</span> by <small class=author>{author}</small></div>"
        for author, text in quotes
    ]
    return f"data:text/html,<script>{json.dumps(rows)}.forEach(row => document.write(row))</script>"


_Task = ExpectedTask
_STAY = {"city": "Lisbon", "nights": 2}
_CLOSED = {"error": "The shop is closed"}
_MOVED = {"error": "The page has moved", "see": "https://example.com"}
_TIMED_OUT = {"error": "The Airflow task ended early: AirflowTaskTimeout"}
_KILLED = {"error": "The Airflow task was killed"}
_QUOTES = (("Jane Austen", "There is nothing like a good novel"), ("Marie Curie", "Nothing is to be feared"))

EXAMPLES = {
    "example_kernel_invoke": Example(
        "run an action and use its output",
        ("echo",),
        (
            _Task("search", "success", "succeeded", _STAY),
            _Task("summarize", "success", None, "2 nights in Lisbon"),
        ),
    ),
    "example_kernel_mapped": Example(
        "one invocation per item",
        ("echo", "echo", "echo"),
        (
            _Task("visit[0]", "success", "succeeded", {"page": "prices"}),
            _Task("visit[1]", "success", "succeeded", {"page": "reviews"}),
            _Task("visit[2]", "success", "succeeded", {"page": "jobs"}),
            _Task("collect", "success", None, ["prices", "reviews", "jobs"]),
        ),
    ),
    "example_kernel_complete": Example(
        "an agent waits for Airflow",
        ("hang",),
        (
            _Task("start_agent", "success", "succeeded", {"orders": 42}),
            _Task("count_orders", "success", None, 42),
            _Task("complete", "success", "succeeded", {"orders": 42}),
            _Task("what_the_caller_sees", "success", None, {"status": "succeeded", "output": {"orders": 42}}),
        ),
    ),
    "example_kernel_cancel": Example(
        "cancel one invocation, and fail another one with an output",
        ("browsers", "hang"),
        (
            _Task("start_shopper", "success", "failed", _CLOSED),
            _Task("start_reader", "success", "failed", _MOVED),
            _Task("cancel", "success", "failed", _CLOSED),
            _Task("update", "success", "failed", _MOVED),
        ),
    ),
    "example_kernel_deferrable": Example(
        "wait in the triggerer, with the invocation's log",
        ("logs",),
        (
            _Task("talk", "success", "succeeded", {"lines": 20}),
            _Task("count", "success", None, 20),
        ),
    ),
    "example_kernel_sensor": Example(
        "wait for an invocation that another task started",
        ("sleep",),
        (
            _Task("start_sleeper", "success", "succeeded", {"slept": 2}),
            _Task("wait", "success", "succeeded", {"slept": 2}),
            _Task("wait_deferred", "success", "succeeded", {"slept": 2}),
        ),
    ),
    "example_kernel_fifty": Example(
        "fifty invocations under a pool",
        ("echo",) * 50,
        (
            *(_Task(f"page[{number}]", "success", "succeeded", {"page": number}) for number in range(50)),
            _Task("total", "success", None, sum(range(50))),
        ),
    ),
    "example_kernel_timeout": Example(
        "a task that times out cancels its invocation",
        ("hang",),
        (
            _Task("endless", "failed", "failed", _TIMED_OUT),
            _Task("check", "success", None, "failed"),
        ),
    ),
    "example_kernel_kill": Example(
        "kill the task, and the invocation and its browser end",
        ("browsers",),
        (
            _Task("browse", "failed", "failed", _KILLED),
            _Task("check", "success", None, {"status": "failed", "browsers": 0}),
        ),
        kill=True,
    ),
    "example_kernel_answer": Example(
        "a task answers a waiting agent",
        ("hang",),
        (
            _Task("find_orders", "success", None, [{"id": 1, "price": 20}, {"id": 2, "price": 22}]),
            _Task("answer", "success", "succeeded", {"orders": 2, "total": 42}),
        ),
        caller="hang",
        answer=("succeeded", {"orders": 2, "total": 42}),
    ),
    "example_kernel_asset": Example(
        "run when an invocation finishes (here started by hand, without an event)",
        (),
        (
            _Task("finished_ids", "success", None, []),
            _Task("outputs", "success", None, []),
        ),
    ),
    "example_kernel_browser": Example(
        "a page behind JavaScript becomes rows",
        (),
        (
            _Task("quotes", "success", None, [{"author": author, "text": text} for author, text in _QUOTES]),
            _Task("authors", "success", None, ["Jane Austen", "Marie Curie"]),
        ),
        conf={"url": _page(*_QUOTES)},
        browsers=1,
    ),
    "example_kernel_browser_mapped": Example(
        "one browser for each page",
        (),
        (
            _Task("pages", "success", None, [_page(quote) for quote in _QUOTES]),
            _Task("first_author[0]", "success", None, "Jane Austen"),
            _Task("first_author[1]", "success", None, "Marie Curie"),
            _Task("authors", "success", None, ["Jane Austen", "Marie Curie"]),
        ),
        conf={"urls": [_page(quote) for quote in _QUOTES]},
        browsers=2,
    ),
    "example_kernel_profile": Example(
        "a profile that stays logged in",
        (),
        (
            _Task("log_in", "success", None, None),
            _Task("read", "success", None, {"logged_in": True}),
        ),
        browsers=2,
        needs_site=True,
    ),
}
