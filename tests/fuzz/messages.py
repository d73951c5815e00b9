"""Odd messages of every form, options, rows and request bodies: what cannot be understood is refused by name."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from starlette.testclient import TestClient

from errors import DropscoreError, InputError, ModelError
from model_store.model import Model
from model_store.registry import ModelVersion
from scoring.blob_events import BLOB_CREATED, Dropped
from scoring.engine import Engine
from scoring.job import Job
from scoring.messages import describe, read_message, read_poisoned_blob
from scoring.options import Options
from scoring.records import Records
from scoring.rows import score_rows
from settings import Connection, Settings
from storage.names import check_path
from tests.echo_model import INPUTS, open_echo
from web.app import create_app

JOB = {
    "input": "incoming/echo/a.csv",
    "model": "echo@3",
    "etag": '"0x1"',
    "keep": ["a", "b"],
    "output_format": "csv",
    "error_threshold": 0.25,
    "csv": {"delimiter": ";", "quote": '"', "header": True, "encoding": "utf-8"},
}
DATA = {
    "api": "PutBlockList",
    "eTag": '"0x1"',
    "contentLength": 7,
    "url": "https://acme.blob.core.windows.net/incoming/echo/a%20b.csv",
}
SUBJECT = "/blobServices/default/containers/incoming/blobs/echo/a b.csv"
EVENT = {"eventType": BLOB_CREATED, "subject": SUBJECT, "id": "1", "data": DATA, "dataVersion": ""}
CLOUD_EVENT = {"type": BLOB_CREATED, "source": "/acme", "subject": SUBJECT, "specversion": "1.0", "data": DATA}
POISONED = {"Type": "BlobTrigger", "ContainerName": "incoming", "BlobName": "echo/a.csv", "ETag": '"0x1"'}
PLACES = [
    "incoming/echo/a.csv",
    "incoming/echo/",
    DATA["url"],
    "incoming/echo/%2e%2e/a.csv",
    "incoming/echo/../a.csv",
]
SETTINGS = Settings(storage=Connection("x", "AccountName=acme;AccountKey=a2V5"), max_request_rows=100)
ROW = {"flag": True, "small": 1, "whole": 2, "single": 0.5, "number": 0.1, "text": "x", "at": "2026-11-20T12:00:00"}
ODD = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63,
    -(2**63),
    2**64,
    10**400,
    0.5,
    -0.0,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "x",
    "NaN",
    "true",
    "1",
    "\ud800",
    "\0",
    "é",
    "a/b",
    "../x",
    "incoming/",
    "models:/echo/1",
    "echo@",
    "x" * 3000,
    "2026-11-20",
    "9999999-01-01",
    "2026-11-20T12:00:00+25:00",
    [],
    {},
    "CreateFile",
    "Microsoft.Storage.BlobDeleted",
    "https://acme.blob.core.windows.net/scored/echo/a.csv",
    "https://other.blob.core.windows.net/incoming/echo/a.csv",
    "https://acme.blob.core.windows.net/incoming/echo/%2e%2e%2Fa.csv",
    "https://acme.blob.core.windows.net/incoming/echo/100%.csv",
    "https://acme.blob.core.windows.net/incoming/echo/%ff.csv",
    "\ufffd",
    [[]],
    [None],
    {"a": 1},
    {"": None},
    "csv",
    -2,
    1.5,
    "all",
    "none",
    ["all", "all"],
    {"delimiter": "\n"},
    {"header": "yes"},
    {"encoding": "utf-7"},
    {"encoding": "base64"},
]
KEYS = [
    *JOB,
    *ROW,
    *EVENT,
    *CLOUD_EVENT,
    *DATA,
    *POISONED,
    "delimiter",
    "quote",
    "header",
    "encoding",
    "",
    "x",
    "__class__",
    "records",
]


@dataclass(frozen=True)
class Case:
    """A value of JSON's, and the text that may be it."""

    kind: str
    value: Any
    text: str


@dataclass
class Messages:
    """The target."""

    model: Model
    client: TestClient

    def make(self, random: Random) -> Case:
        """Return a job, options, or rows with odd parts; now and then its text is damaged as well."""
        kind = random.choice(
            ["job", "options", "rows", "rows", "body", "message", "message", "message", "poisoned"]
        )
        if kind in ("message", "poisoned"):
            value: Any = make_message(random) if kind == "message" else POISONED
        elif kind in ("job", "options"):
            value = dict(random.sample(list(JOB.items()), random.randint(0, len(JOB))))
            value = value | {"input": JOB["input"]} if kind == "job" and random.random() < 0.8 else value
        else:
            value = [dict(ROW) for _ in range(random.choice([0, 1, 1, 3, 20]))]
        for _ in range(random.choice([0, 1, 1, 2, 4])):
            value = distort(value, random)
        is_plain = kind == "message" and isinstance(value, str) and random.random() < 0.8
        text = value if is_plain else json.dumps(value, ensure_ascii=random.random() < 0.8)
        if random.random() < 0.2:
            place = random.randrange(len(text) + 1)
            text = (
                text[:place]
                + random.choice(["", "[" * 9999, "{", '"', "\0", "9" * 5000, "\\u"])
                + text[place + 1 :]
            )
        if kind in ("message", "poisoned") and random.random() < 0.3:
            text = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
        return Case(kind, value, text)

    def check(self, case: Case) -> str:
        """Read the case as what it is meant to be."""
        try:
            return getattr(self, case.kind)(case)
        except (InputError, ModelError) as error:
            json.dumps(error.to_dict())
            return error.code

    def job(self, case: Case) -> str:
        job = Job.from_json(case.text)
        assert Job.from_json(job.to_json()) == job
        assert job.result_name("incoming")
        return "job"

    def message(self, case: Case) -> str:
        described = describe(case.text)
        assert set(described) <= {"bytes", "sha256", "base64", "form", "items", "keys", "other_keys"}
        assert len(json.dumps(described)) < 500
        body = case.text.encode("utf-8", "surrogatepass")
        orders = read_message(case.text, SETTINGS)
        assert orders == outcome(body) or not is_text(body)
        if is_text(body) and case.text.lstrip()[:1] in ("{", "["):
            assert outcome(base64.b64encode(body)) == orders
        for order in orders:
            if isinstance(order, Dropped):
                assert order.path.container == SETTINGS.incoming
            if isinstance(order, Job):
                check_path(order.input)
            if isinstance(order, Records):
                assert len(order.rows) <= SETTINGS.max_request_rows
                assert order.key != order.run(None).id
        return f"message of {', '.join(sorted({type(order).__name__ for order in orders})) or 'nothing'}"

    def poisoned(self, case: Case) -> str:
        assert read_poisoned_blob(case.text).container is not None
        return "poisoned blob"

    def options(self, case: Case) -> str:
        if not isinstance(case.value, dict):
            return "no object"
        options = Options.from_dict(case.value)
        assert Options.from_dict(options.to_dict()) == options
        assert Options.from_dict(json.loads(json.dumps(options.to_dict()))) == options
        return "options"

    def rows(self, case: Case) -> str:
        if not isinstance(case.value, list) or not all(isinstance(row, dict) for row in case.value):
            return "no rows"
        answers = score_rows(case.value, self.model)
        assert len(answers) == len(case.value)
        json.dumps(answers, allow_nan=False)
        for row, answer in zip(case.value, answers, strict=True):
            if "error" in answer:
                assert score_rows([{c.name: None for c in INPUTS} | row], self.model) == [answer]
        return "rows"

    def body(self, case: Case) -> str:
        answer = self.client.post("/api/predict/echo", content=case.text.encode("utf-8", "surrogatepass"))
        assert answer.status_code < 500, answer.text
        content = answer.json()
        assert ("predictions" in content) == (answer.status_code == 200), content
        return f"status {answer.status_code}"

    def dump(self, case: Case) -> bytes:
        """Return the text."""
        return case.text.encode("utf-8", "surrogatepass")


def open_target(folder: Path) -> Messages:
    """Return the target; the model it scores with is packaged in `folder`."""
    model = open_echo(folder / "echo")
    served = SimpleNamespace(version=ModelVersion("echo", 1, model.digest), model=model, refused=None)
    services: Any = SimpleNamespace(
        models=SimpleNamespace(current=lambda _: served, at_hand=lambda _: served), engine=Engine(1)
    )
    return Messages(
        model,
        TestClient(create_app(lambda: services, Settings(max_request_bytes=1 << 20)), raise_server_exceptions=True),
    )


def make_message(random: Random) -> Any:
    """Return a message of some form: an event, some events, rows, a path, a URL, a job."""
    match random.randrange(5):
        case 0:
            return random.choice([EVENT, CLOUD_EVENT])
        case 1:
            return [random.choice([EVENT, CLOUD_EVENT]) for _ in range(random.choice([0, 1, 2, 5]))]
        case 2:
            named = {"id": "x"} if random.random() < 0.5 else {}
            return {"model": "echo", "records": [dict(ROW) for _ in range(random.choice([0, 1, 3, 101]))]} | named
        case 3:
            place = random.choice(PLACES)
            cut = random.randrange(len(place) + 1)
            return (
                place[:cut] + random.choice(["", "/", "%", "?", "#", "+", "\\", "\0", "é", "\ud800"]) + place[cut:]
            )
        case _:
            return JOB


def outcome(body: bytes) -> Any:
    """Return what a message asks for, or the kind of its error."""
    try:
        return read_message(body, SETTINGS)
    except DropscoreError as error:
        return type(error)


def is_text(body: bytes) -> bool:
    """Say whether bytes are UTF-8."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def distort(value: Any, random: Random) -> Any:
    """Put an odd value somewhere, or take out or add a part."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        match random.randrange(4):
            case 0:
                return {k: v for k, v in value.items() if k != key}
            case 1:
                return value | {random.choice(KEYS): random.choice(ODD)}
            case _:
                return value | {key: distort(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.9:
        place = random.randrange(len(value))
        return [*value[:place], distort(value[place], random), *value[place + 1 :]]
    return random.choice(ODD)
