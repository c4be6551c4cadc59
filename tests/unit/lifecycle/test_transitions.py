"""The states of an owner: the whole table."""

from itertools import product

import pytest

from airflow_provider_kernel.lifecycle.transitions import END_IS_UNDER_WAY, TRANSITIONS, Action, Event, State

#: Every state x every event: the next state, and the action. A dot: nothing changes.
GRID = """
                       START            KNOWN                LOST                 ABSENT  RELEASE   END                        KILL                       OURS                      TAKEN_OVER  OVERDUE                 ENDED  END_FAILED       REPLACED
IDLE                   STARTING/CREATE  OWNED                .                    .       .         ENDED                      ENDED                      .                         .           .                       .      .                .
STARTING               .                OWNED                OWNED                IDLE    .         ASKING_WHILE_STARTING/ASK  ASKING_WHILE_STARTING/ASK  .                         .           .                       .      .                .
OWNED                  .                OWNED                .                    IDLE    RELEASED  ASKING/ASK                 ASKING_URGENTLY/ASK        .                         .           .                       ENDED  .                .
ASKING                 .                .                    .                    .       .         .                          ASKING_URGENTLY            ENDING/END                RELEASED    .                       ENDED  .                .
ASKING_URGENTLY        .                .                    .                    ENDED   .         .                          .                          ENDING_URGENTLY/END       RELEASED    .                       ENDED  .                .
ASKING_WHILE_STARTING  .                ASKING_URGENTLY      ASKING_URGENTLY      ENDED   .         .                          .                          ENDING_URGENTLY           RELEASED    ENDING_URGENTLY/RESCUE  .      .                .
ASKING_WHILE_ENDING    .                .                    .                    .       .         .                          .                          ENDING_URGENTLY/OVERTAKE  RELEASED    .                       ENDED  ASKING_URGENTLY  .
ENDING                 .                .                    .                    .       .         .                          ASKING_WHILE_ENDING/ASK    .                         RELEASED    .                       ENDED  OWNED            .
ENDING_URGENTLY        .                ENDING_URGENTLY/END  ENDING_URGENTLY/END  ENDED   .         .                          .                          .                         RELEASED    ENDING_URGENTLY/RESCUE  ENDED  OWNED            .
ENDED                  .                ASKING_URGENTLY/ASK  .                    .       .         .                          .                          .                         .           .                       .      .                IDLE
RELEASED               .                .                    .                    .       .         .                          .                          .                         .           .                       .      .                .
"""  # noqa: E501


def grid():
    (header, *rows) = [line.split() for line in GRID.strip().splitlines()]
    for state, *cells in rows:
        for event, cell in zip(header, cells, strict=True):
            yield State[state], Event[event], cell


@pytest.mark.parametrize(
    ("state", "event", "cell"), [*grid()], ids=lambda value: getattr(value, "name", str(value))
)
def test_transition_of_the_owner(state, event, cell):
    after, action = TRANSITIONS.get((state, event), (state, None))
    if cell == ".":
        assert (state, event) not in TRANSITIONS
    else:
        assert "/".join([after.name, *([action.name] if action else [])]) == cell


def test_transition_grid_has_every_state_and_every_event():
    assert {(state, event) for state, event, _ in grid()} == set(product(State, Event))


def test_transition_table_has_an_end_under_way_after_every_kill():
    for state in State:
        after, _ = TRANSITIONS.get((state, Event.KILL), (state, None))
        assert after in END_IS_UNDER_WAY | {State.ENDED, State.RELEASED}
        assert after not in (State.ASKING, State.ENDING), "the end after a kill is urgent"


def test_transition_table_ends_nothing_before_airflow_was_asked():
    ending = (State.ENDING, State.ENDING_URGENTLY)
    entered = {pair for pair, (after, _) in TRANSITIONS.items() if after in ending and pair[0] not in ending}
    assert {event for _, event in entered} == {Event.OURS, Event.OVERDUE}


def test_transition_table_asks_once_for_each_end():
    asking = {state for state in State if state.name.startswith("ASKING")}
    asks = {pair for pair, (_, action) in TRANSITIONS.items() if action is Action.ASK}
    entered = {pair for pair, (after, _) in TRANSITIONS.items() if after in asking and pair[0] not in asking}
    assert asks == entered


def test_transition_table_orders_every_end_or_waits_for_the_create():
    entered = {
        (state, event): action
        for (state, event), (after, action) in TRANSITIONS.items()
        if after in (State.ENDING, State.ENDING_URGENTLY) and after is not state
    }
    assert {pair for pair, action in entered.items() if action is None} == {
        (State.ASKING_WHILE_STARTING, Event.OURS)
    }


@pytest.mark.parametrize("state", [state for state in State if state.name.startswith("ASKING")])
def test_transition_table_leaves_what_another_try_has_taken_over(state):
    assert TRANSITIONS[state, Event.TAKEN_OVER] == (State.RELEASED, None)


def test_transition_table_creates_from_idle_only():
    creating = [pair for pair, (_, action) in TRANSITIONS.items() if action is Action.CREATE]
    assert creating == [(State.IDLE, Event.START)]
