"""The page on the architecture: the rooms that it names are there, and the owner's states are those of the code."""

import re
from pathlib import Path

import airflow_provider_kernel
from airflow_provider_kernel.lifecycle.transitions import TRANSITIONS, Event, State

PACKAGE = Path(airflow_provider_kernel.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "architecture.md").read_text()


def rows(heading):
    """Read the rows of the table with this first line."""
    (table,) = re.findall(rf"^{re.escape(heading)}\n\|.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]


def test_architecture_page_names_only_rooms_and_modules_that_exist():
    named = set(re.findall(r"(?<![\w(.])[a-z_]+/(?:[a-z_]+/)*(?:[a-z_]+\.py)?", PAGE)) - {
        "airflow_provider_kernel/"
    }
    named = {
        f"client/{path}" if path in ("resources/", "http/", "invocations/", "browsers/") else path for path in named
    }
    named = {re.sub(r"^client/(invocations|browsers)", r"client/resources/\1", path) for path in named}
    assert len(named) > 20
    assert sorted(path for path in named if not (PACKAGE / path).exists()) == []


def test_architecture_page_has_the_transitions_of_the_owner():
    table = rows("| State | What it means | Events that lead to another state |")
    shown = {
        (state.strip("`"), event): target
        for state, _, leads in table
        for events, target in re.findall(r"([A-Z_, ]+) → `([A-Z_]+)`", leads)
        for event in events.strip().split(", ")
    }
    assert shown == {
        (state.name, event.name): target.name
        for (state, event), (target, _) in TRANSITIONS.items()
        if target is not state
    }
    assert [(state.strip("`"), meaning) for state, meaning, _ in table] == [(s.name, s.value) for s in State]


def test_architecture_page_explains_the_events_of_the_owner():
    assert [tuple(row) for row in rows("| Event | What it means |")] == [(e.name, e.value) for e in Event]
