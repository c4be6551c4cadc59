"""What may happen to a task, try by try, as strategies of Hypothesis."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

RETRIES = 3

STARTS = {
    "ok": {},
    "dropped before": {"drop": "before"},
    "dropped after": {"drop": "after"},
    "500": {"status": 500},
    "500, processed": {"status": 500, "processed": True},
    "502": {"status": 502},
    "429": {"status": 429, "headers": {"Retry-After": "0"}},
    "truncated": {"truncate": True},
    "html, processed": {"status": 200, "body": "<html>", "processed": True},
}

#: What happens in a try, and at which point of it.
STARTING = [
    "after the search for what was started",
    "before the intent is stored",
    "after the intent is stored",
    "before the id is stored",
    "after the id is stored",
]
CRASHES = [
    *STARTING,
    "while waiting",
    "before the result is pushed",
    "before the task ends",
    "before the end is stored",
]
KILLS = [*STARTING, "while waiting"]
THINGS = [
    *(("crash", point) for point in CRASHES),
    *(("kill", point) for point in KILLS),  # also what a clear of a running task does
    *(
        ("clear", when)
        for when in ("its trigger is told before", "its trigger is told after", "its trigger is never told")
    ),
    ("succeed", ""),
    ("fail", ""),
    ("lose contact", ""),
]


@dataclass(frozen=True)
class Try:
    """
    :param start: what trouble its create request has.
    :param what: what happens in it, and where.
    :param early: whether that happens before a deferrable task defers.
    :param then: how an invocation that is left ends before the next try, if it does.
    :param cleared: whether the task is cleared before the next try.
    """

    start: str
    what: tuple[str, str]
    early: bool
    then: str | None
    cleared: bool


TRIES = st.builds(
    Try,
    start=st.sampled_from(list(STARTS)),
    what=st.sampled_from(THINGS),
    early=st.booleans(),
    then=st.sampled_from([None, None, None, "succeeded", "failed"]),
    cleared=st.sampled_from([False, False, False, False, True]),
)
#: What may happen to a task that nobody touches: it is to run once.
CRASHING = st.builds(
    Try,
    start=st.sampled_from(list(STARTS)),
    what=st.sampled_from([(what, point) for what, point in THINGS if what in ("crash", "lose contact", "succeed")]),
    early=st.booleans(),
    then=st.sampled_from([None, None, "succeeded"]),
    cleared=st.just(False),
)
#: What leaves nothing behind that a next try would have to know of.
ORDERLY = st.one_of(
    [
        st.builds(
            Try,
            start=st.sampled_from(list(STARTS)),
            what=st.sampled_from(things),
            early=early,
            then=st.none(),
            cleared=st.sampled_from([False, False, False, False, True]),
        )
        for things, early in (
            ([("kill", point) for point in KILLS], st.just(True)),
            ([("succeed", ""), ("fail", "")], st.booleans()),
        )
    ]
)

ALONE = st.lists(st.tuples(st.just(0), TRIES), min_size=1, max_size=6)
