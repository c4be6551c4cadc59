"""The states of an :class:`~airflow_provider_kernel.lifecycle.owner.Owner`, as a table: what follows from what."""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    """How far the life of the object is."""

    IDLE = "nothing was started"
    STARTING = "the create request is in flight"
    OWNED = "the object exists or, after a lost answer, may exist"
    ENDING = "an end is under way"
    ENDING_URGENTLY = "an end is under way, or awaits the create's answer, and the process is about to be killed"
    ENDED = "nothing is left to end, and nothing may be started"
    RELEASED = "the object is over, or has another owner"


class Event(Enum):
    """What happens to it."""

    START = "the task starts it"
    KNOWN = "its id is known: from the create's answer, the list or the ledger"
    LOST = "the create may have started it, but got no usable answer"
    ABSENT = "nothing was started: Kernel refused, or the list has none"
    RELEASE = "the task lets go of it"
    END = "the task ends early"
    KILL = "the process gets a signal"
    OVERDUE = "the signal handler cannot wait any longer for the create's answer"
    ENDED = "Kernel has ended it, or there is none"
    END_FAILED = "the last end that was ordered failed, or did not find what a lost start may have started"


class Action(Enum):
    """What a transition sets going."""

    CREATE = auto()  # send the create request
    END = auto()  # end it, behind what is under way
    OVERTAKE = auto()  # end it, beside an end that may be in a backoff
    RESCUE = auto()  # find it in the list and end it, beside the create that gets no answer


#: What follows from an event in a state. An event without a pair here comes late, or twice, and changes nothing;
#: a start is then refused.
TRANSITIONS: dict[tuple[State, Event], tuple[State, Action | None]] = {
    (State.IDLE, Event.START): (State.STARTING, Action.CREATE),
    (State.IDLE, Event.KNOWN): (State.OWNED, None),
    (State.IDLE, Event.END): (State.ENDED, None),
    (State.IDLE, Event.KILL): (State.ENDED, None),
    #
    (State.STARTING, Event.KNOWN): (State.OWNED, None),
    (State.STARTING, Event.LOST): (State.OWNED, None),
    (State.STARTING, Event.ABSENT): (State.IDLE, None),
    (State.STARTING, Event.END): (State.ENDING_URGENTLY, Action.RESCUE),  # the create has had its time
    (State.STARTING, Event.KILL): (State.ENDING_URGENTLY, None),
    #
    (State.OWNED, Event.KNOWN): (State.OWNED, None),
    (State.OWNED, Event.ABSENT): (State.IDLE, None),
    (State.OWNED, Event.RELEASE): (State.RELEASED, None),
    (State.OWNED, Event.END): (State.ENDING, Action.END),
    (State.OWNED, Event.KILL): (State.ENDING_URGENTLY, Action.END),
    (State.OWNED, Event.ENDED): (State.ENDED, None),
    #
    (State.ENDING, Event.KILL): (State.ENDING_URGENTLY, Action.OVERTAKE),
    (State.ENDING, Event.ENDED): (State.ENDED, None),
    (State.ENDING, Event.END_FAILED): (State.OWNED, None),  # it may be ordered anew
    #
    (State.ENDING_URGENTLY, Event.KNOWN): (State.ENDING_URGENTLY, Action.END),
    (State.ENDING_URGENTLY, Event.LOST): (State.ENDING_URGENTLY, Action.END),
    (State.ENDING_URGENTLY, Event.ABSENT): (State.ENDED, None),
    (State.ENDING_URGENTLY, Event.OVERDUE): (State.ENDING_URGENTLY, Action.RESCUE),
    (State.ENDING_URGENTLY, Event.ENDED): (State.ENDED, None),
    (State.ENDING_URGENTLY, Event.END_FAILED): (State.OWNED, None),
    #
    # The kill came before the id was known, and may have found nothing to end.
    (State.ENDED, Event.KNOWN): (State.ENDING_URGENTLY, Action.END),
}

END_IS_UNDER_WAY = frozenset({State.ENDING, State.ENDING_URGENTLY})
