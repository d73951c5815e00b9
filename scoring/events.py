"""Say on a queue that a run has ended: one CloudEvent for each, for systems that go on from there."""

import json
import re
from collections.abc import Mapping
from typing import Any

from scoring.receipt import Receipt
from scoring.services import Services

MOST_BYTES = 48 * 1024
"""Bytes of an event's text: a queue message's 64 KiB still hold it if somebody passes it on in base64."""

_LONGEST_TEXT = 2000
"""Characters of one text in an event, to begin with: more than any blob's path or model's name has."""

_TYPE = "dropscore.run."
_NOT_IN_XML = re.compile("[\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def send_ended(receipt: Receipt, services: Services, *, answer: Mapping[str, Any] | None = None) -> None:
    """Put the event of a run that has ended on the events queue.

    It may be sent again, by whoever does not know whether it was sent: consumers tell that by its `id`. `answer` is
    what rows scored at once became; one too large for a message is left out, and lies where `output` says.
    """
    event = to_event(receipt, services)
    text = _to_json(event | {"data": event["data"] | dict(answer)} if answer else event)
    if len(text.encode()) > MOST_BYTES:
        text = _shortened(event)
    services.queues.send(services.settings.events_queue, text)


def to_event(receipt: Receipt, services: Services) -> dict[str, Any]:
    """Return the event as CloudEvents 1.0 has it: made of the receipt alone, so that it is the same each time.

    The id is the run's. A job that was given up may be sent again and end under the same run id for good: what came
    of it then is other news, so the event of the giving up has an id of its own.
    """
    subject = receipt.input.get("path") or receipt.input.get("id")
    data: dict[str, Any] = {
        "run_id": receipt.run_id,
        "status": receipt.status,
        "input": dict(receipt.input),
        "model": {key: receipt.model.get(key) for key in ("reference", "name", "version")},
        "rows": dict(receipt.rows),
        "output": receipt.output,
        "rejects": receipt.rejects,
        "error": dict(receipt.error) if receipt.error else None,
        "receipt": f"{services.settings.runs}/{receipt.run_id}/receipt.json",
    }
    return {
        "specversion": "1.0",
        "id": receipt.run_id if receipt.is_final else f"{receipt.run_id}-given-up",
        "source": services.settings.events_source,
        "type": _TYPE + receipt.status,
        **({"subject": subject} if subject else {}),  # CloudEvents has no empty and no null ones
        "time": receipt.finished,
        "datacontenttype": "application/json",
        "data": data,
    }


def _shortened(event: Mapping[str, Any]) -> str:
    """Return an event's text with its longest texts cut off until it is short enough.

    Those are an error's, if any: paths and names are shorter than what is cut first.
    """
    longest = _LONGEST_TEXT
    while len((text := _to_json(_cut(event, longest))).encode()) > MOST_BYTES:
        longest //= 2
    return text


def _to_json(event: Mapping[str, Any]) -> str:
    # Not ASCII only: that would make 12 bytes of an emoji. What queues' XML cannot hold JSON can escape.
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = _SURROGATE.sub("\ufffd", text)  # half a character: most readers of JSON refuse that
    return _NOT_IN_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _cut(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= longest else value[: longest - 1] + "…"
    if isinstance(value, Mapping):
        return {key: _cut(item, longest) for key, item in value.items()}
    return value
