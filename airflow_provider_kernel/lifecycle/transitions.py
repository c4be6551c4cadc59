"""The states of an :class:`~airflow_provider_kernel.lifecycle.owner.Owner`, as a table: what follows from what."""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    """How far the life of the object is."""

    IDLE = "nothing was started"
    STARTING = "the create request is in flight"
    OWNED = "the object exists or, after a lost answer, may exist"
    ASKING = "an end was ordered, and Airflow is asked whether another try owns the object"
    ASKING_URGENTLY = "as ASKING, and the process is about to be killed"
    ASKING_WHILE_STARTING = "as ASKING_URGENTLY, while the create request is in flight"
    ASKING_WHILE_ENDING = "as ASKING_URGENTLY, beside an end that may be in a backoff"
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
    OURS = "no other try owns it, or Airflow did not answer in time"
    TAKEN_OVER = "another try of the task owns it, or will"
    OVERDUE = "an end cannot wait any longer for the create's answer"
    ENDED = "Kernel has ended it, or there is none"
    END_FAILED = "the last end that was ordered failed, or did not find what a lost start may have started"
    REPLACED = "what has ended was an earlier try's, and another one may be started in its place"


class Action(Enum):
    """What a transition sets going."""

    CREATE = auto()  # send the create request
    ASK = auto()  # ask whether another try owns it
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
    (State.STARTING, Event.END): (State.ASKING_WHILE_STARTING, Action.ASK),
    (State.STARTING, Event.KILL): (State.ASKING_WHILE_STARTING, Action.ASK),
    #
    (State.OWNED, Event.KNOWN): (State.OWNED, None),
    (State.OWNED, Event.ABSENT): (State.IDLE, None),
    (State.OWNED, Event.RELEASE): (State.RELEASED, None),
    (State.OWNED, Event.END): (State.ASKING, Action.ASK),
    (State.OWNED, Event.KILL): (State.ASKING_URGENTLY, Action.ASK),
    (State.OWNED, Event.ENDED): (State.ENDED, None),
    #
    (State.ASKING, Event.KILL): (State.ASKING_URGENTLY, None),  # the question is under way
    (State.ASKING, Event.OURS): (State.ENDING, Action.END),
    (State.ASKING, Event.TAKEN_OVER): (State.RELEASED, None),
    (State.ASKING, Event.ENDED): (State.ENDED, None),
    #
    (State.ASKING_URGENTLY, Event.ABSENT): (State.ENDED, None),
    (State.ASKING_URGENTLY, Event.OURS): (State.ENDING_URGENTLY, Action.END),
    (State.ASKING_URGENTLY, Event.TAKEN_OVER): (State.RELEASED, None),
    (State.ASKING_URGENTLY, Event.ENDED): (State.ENDED, None),
    #
    (State.ASKING_WHILE_STARTING, Event.KNOWN): (State.ASKING_URGENTLY, None),
    (State.ASKING_WHILE_STARTING, Event.LOST): (State.ASKING_URGENTLY, None),
    (State.ASKING_WHILE_STARTING, Event.ABSENT): (State.ENDED, None),
    (State.ASKING_WHILE_STARTING, Event.OURS): (State.ENDING_URGENTLY, None),
    (State.ASKING_WHILE_STARTING, Event.TAKEN_OVER): (State.RELEASED, None),
    (State.ASKING_WHILE_STARTING, Event.OVERDUE): (State.ENDING_URGENTLY, Action.RESCUE),
    #
    (State.ASKING_WHILE_ENDING, Event.OURS): (State.ENDING_URGENTLY, Action.OVERTAKE),
    (State.ASKING_WHILE_ENDING, Event.TAKEN_OVER): (State.RELEASED, None),
    (State.ASKING_WHILE_ENDING, Event.ENDED): (State.ENDED, None),
    (State.ASKING_WHILE_ENDING, Event.END_FAILED): (State.ASKING_URGENTLY, None),
    #
    (State.ENDING, Event.KILL): (State.ASKING_WHILE_ENDING, Action.ASK),
    (State.ENDING, Event.TAKEN_OVER): (State.RELEASED, None),  # it asks again before each further attempt
    (State.ENDING, Event.ENDED): (State.ENDED, None),
    (State.ENDING, Event.END_FAILED): (State.OWNED, None),  # it may be ordered anew
    #
    (State.ENDING_URGENTLY, Event.KNOWN): (State.ENDING_URGENTLY, Action.END),
    (State.ENDING_URGENTLY, Event.LOST): (State.ENDING_URGENTLY, Action.END),
    (State.ENDING_URGENTLY, Event.ABSENT): (State.ENDED, None),
    (State.ENDING_URGENTLY, Event.TAKEN_OVER): (State.RELEASED, None),
    (State.ENDING_URGENTLY, Event.OVERDUE): (State.ENDING_URGENTLY, Action.RESCUE),
    (State.ENDING_URGENTLY, Event.ENDED): (State.ENDED, None),
    (State.ENDING_URGENTLY, Event.END_FAILED): (State.OWNED, None),
    #
    # The kill came before the id was known, and may have found nothing to end.
    (State.ENDED, Event.KNOWN): (State.ASKING_URGENTLY, Action.ASK),
    (State.ENDED, Event.REPLACED): (State.IDLE, None),
}

END_IS_UNDER_WAY = frozenset(
    {
        State.ASKING,
        State.ASKING_URGENTLY,
        State.ASKING_WHILE_STARTING,
        State.ASKING_WHILE_ENDING,
        State.ENDING,
        State.ENDING_URGENTLY,
    }
)
