"""What may happen to a task, try by try, as strategies of Hypothesis."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
CLEARS = [
    ("clear", when)
    for when in ("its trigger is told before", "its trigger is told after", "its trigger is never told")
]
THINGS = [
    *(("crash", point) for point in CRASHES),
    *(("kill", point) for point in KILLS),  # a SIGTERM to the process alone
    *CLEARS,
    ("succeed", ""),
    ("fail", ""),
    ("lose contact", ""),
]
#: What ends a task for good, or makes another try of it that adopts nothing.
TOUCHES = ("kill", "clear", "clear while running", "mark failed", "mark success", "time out")


@dataclass(frozen=True)
class Outage:
    """
    Every request to Kernel fails for a while.

    :param at: the point at which it begins; ``"at once"`` with the try, ``"with it"`` when the thing happens.
    :param seconds: how long it lasts.
    :param how: how the requests fail.
    :param after: seconds from that point until it begins; an exchange takes :data:`EXCHANGE_SECONDS`.
    """

    at: str
    seconds: float
    how: str
    after: float = 0.0


@dataclass(frozen=True)
class Return:
    """
    How a suspended process goes on.

    :param at: a point of the next try, or ``"before the next try"``, ``"while the next try is deferred"``,
        ``"after the next try"`` or ``"never"``.
    :param by: ``"SIGTERM"``, or ``"timeout"``: on a main thread the ``execution_timeout``; another one, which was
        sending, only goes on.
    """

    at: str
    by: str


@dataclass(frozen=True)
class Try:
    """
    :param start: what trouble its create request has.
    :param what: what happens in it, and where.
    :param early: whether that happens before a deferrable task defers.
    :param then: how an invocation that is left ends before the next try, if it does.
    :param cleared: whether the task is cleared before the next try.
    :param outage: of Kernel, if there is one.
    :param returns: how the process goes on, if it is suspended.
    :param marked: what the task is marked as while it waits for its next try, if it is.
    :param delay: how long it waits for that.
    """

    start: str
    what: tuple[str, str]
    early: bool
    then: str | None
    cleared: bool
    outage: Outage | None = None
    returns: Return = Return("never", "SIGTERM")
    marked: str | None = None
    delay: float = 0.0


#: The last try of a history, in which nothing happens.
QUIET = Try("ok", ("succeed", ""), early=True, then=None, cleared=False)

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

FIRST_ACT = "after the ledger is read"
IN_FLIGHT = "while the create is in flight"
RESUMING = "as it goes on after its deferral"
FETCHING = "while it fetches the result"
#: When a request that cancels has failed.
ENDING = "while it ends the invocation"
SUSPENSIONS = [
    FIRST_ACT,
    *STARTING,
    IN_FLIGHT,
    "while waiting",
    RESUMING,
    FETCHING,
    ENDING,
    "before the end is stored",
]
RETURNS = [
    "before the next try",
    FIRST_ACT,
    *STARTING,
    "while waiting",
    "while the next try is deferred",
    RESUMING,
    FETCHING,
    "before the end is stored",
    "after the next try",
    "never",
]
OUTAGES = st.one_of(
    st.none(),
    st.builds(
        Outage,
        at=st.sampled_from(["at once", "with it", "with it", *STARTING, "while waiting", RESUMING]),
        # From shorter than a kill to longer than every budget.
        seconds=st.sampled_from([0.5, 2.0, 4.5, 20.0, 60.0, 119.0, 130.0, 400.0, 700.0, 2000.0]),
        how=st.sampled_from(["500", "503", "refused", "dropped", "hangs"]),
        after=st.sampled_from([0.0, 0.0, 0.01, 0.03, 0.05, 2.0]),
    ),
)
MARKS = st.sampled_from([None, None, None, None, "success", "failed"])
TROUBLES = [
    *THINGS,
    *(("crash", point) for point in (FIRST_ACT, IN_FLIGHT, RESUMING, FETCHING, ENDING)),
    *(
        (what, point)
        for what in ("kill", "clear while running", "mark failed", "mark success")
        for point in (*KILLS, RESUMING, FETCHING)
    ),
    *(("time out", point) for point in ("while waiting", FETCHING)),
    *(("suspend", point) for point in SUSPENSIONS),
]


def troubled(things: list[tuple[str, str]]) -> st.SearchStrategy[Try]:
    """Make tries with outages, old processes that return, and marks."""
    return st.builds(
        Try,
        start=st.sampled_from(["ok", "ok", *STARTS]),
        what=st.sampled_from(things),
        early=st.booleans(),
        then=st.sampled_from([None, None, None, None, "succeeded", "failed"]),
        cleared=st.sampled_from([False, False, False, False, False, True]),
        outage=OUTAGES,
        returns=st.builds(
            Return, at=st.sampled_from(RETURNS), by=st.sampled_from(["SIGTERM", "SIGTERM", "timeout"])
        ),
        marked=MARKS,
        delay=st.sampled_from([0.0, 1.0, 30.0, 300.0]),
    )


TROUBLED = troubled(TROUBLES)
#: What may happen to a task that nobody touches, except for outages: it is to run once.
RETURNING = troubled([thing for thing in TROUBLES if thing[0] in ("crash", "suspend", "succeed")]).map(
    lambda plan: replace(plan, cleared=False, marked=None, outage=None)
)

#: A running task is cleared while Kernel is down, so that the end of its invocation fails.
CLEARED_WHILE_DOWN = troubled([("clear while running", point) for point in KILLS]).map(
    lambda plan: replace(plan, early=True, outage=Outage("with it", 60.0, "500"), then=None, delay=300.0)
)

ALONE = st.lists(st.tuples(st.just(0), TRIES), min_size=1, max_size=6)


def alone(tries: st.SearchStrategy[Try], most: int = 5) -> st.SearchStrategy[list[tuple[int, Try]]]:
    """Make tries of one task."""
    return st.lists(st.tuples(st.just(0), tries), min_size=1, max_size=most)
