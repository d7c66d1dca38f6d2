"""What the page says of each kind of alarm. The kinds are those of `store/operator_rows.py`."""

from collections.abc import Iterable
from dataclasses import dataclass

from batchseal.operator.languages import Texts
from batchseal.store.operator import Alarm


@dataclass(frozen=True, slots=True)
class Shown:
    """An alarm in the operator's language."""

    severity: str
    text: str


TEXTS = {
    "instance gone": "Instance {subject} is gone, and {operations} unfinished operations can be signed by it alone.",
    "queue old": "The oldest operation in the queue has waited for {seconds}; {operations} operations wait.",
    "held": "{operations} operations are held after a restore and wait for a decision.",
    "audit broken": "The audit trail is broken: {problem}",
    "audit waits": "{entries} audit entries wait to be put into the chain.",
    "grant lapsed": "The grant of credential {subject} has run out. Work waits until it is renewed.",
    "grant ends": "The grant of credential {subject} ends soon.",
    "certificate ends": "The certificate of credential {subject} ends in {days} days.",
    "certificate ended": "The certificate of credential {subject} has ended. Nothing can be signed with it.",
}


def shown_alarms(alarms: Iterable[Alarm], texts: Texts) -> list[Shown]:
    """The alarms in the language of the page, in their order. One of an unknown kind is shown by its name."""
    shown = []
    for alarm in alarms:
        values: dict[str, str | int | float] = {"subject": alarm.subject, **alarm.values}
        if isinstance(seconds := values.get("seconds"), int | float):
            values["seconds"] = f"{seconds / 60:.0f} min"
        sentence = TEXTS.get(alarm.kind, "{kind}: {subject}")
        try:
            text = texts(sentence, kind=alarm.kind.replace("_", " "), **values)
        except (KeyError, ValueError):
            text = f"{alarm.kind}: {alarm.subject}"
        shown.append(Shown(alarm.severity, text))
    return shown
