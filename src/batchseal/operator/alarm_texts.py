"""What the page says of each kind of alarm. The kinds are those of `store/operator_rows.py`."""

from collections.abc import Iterable
from dataclasses import dataclass

from batchseal.operator.languages import Texts
from batchseal.store.operator_rows import Alarm


@dataclass(frozen=True, slots=True)
class Shown:
    """An alarm in the operator's language."""

    severity: str
    text: str


TEXTS: dict[str, str] = {}


def shown_alarms(alarms: Iterable[Alarm], texts: Texts) -> list[Shown]:
    """The alarms in the language of the page, in their order. One of an unknown kind is shown by its name."""
    shown = []
    for alarm in alarms:
        values = {"subject": alarm.subject, **alarm.values}
        sentence = TEXTS.get(alarm.kind, "{kind}: {subject}")
        try:
            text = texts(sentence, kind=alarm.kind.replace("_", " "), **values)
        except (KeyError, ValueError):
            text = f"{alarm.kind}: {alarm.subject}"
        shown.append(Shown(alarm.severity, text))
    return shown
