"""Send requests of every operation, and hold each answer against the document."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.core.control import SkipTest
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.conformance.bodies import JSON, changed, examples_of, mend
from tests.conformance.promises import Promises
from tests.conformance.scene import ADMIN_KEY, Scene

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
"""Of every answer: no 5xx, a status that is documented, with its content type, its headers and its schema."""

schemathesis.serializer.alias(
    ["text/csv", "application/vnd.apache.parquet", "application/gzip", "application/zstd"], "text/plain"
)  # bodies are sent as they were drawn, whatever they are called

_PATIENCE = 600
"""Seconds to wait for an answer: how long one takes is not what is looked at here."""


@dataclass
class Report:
    """What was sent, and what was wrong."""

    answers: dict[str, Counter[int]] = field(default_factory=dict)
    """By operation: how many answers had which status."""
    findings: dict[tuple[str, str], str] = field(default_factory=dict)
    """By operation and what is wrong: the first case."""

    @property
    def cases(self) -> int:
        """How many requests were sent."""
        return sum(counts.total() for counts in self.answers.values())

    def text(self) -> str:
        """Return it for people to read."""
        lines = [
            f"{label:60} {', '.join(f'{status}: {count:,}' for status, count in sorted(counts.items()))}"
            for label, counts in self.answers.items()
        ]
        lines += [f"\n{label}: {title}\n{sample}" for (label, title), sample in self.findings.items()]
        return "\n".join([*lines, f"\n{self.cases:,} cases, {len(self.findings)} findings"])


def hunt(
    scene: Scene, cases: int, number: int, most: int | None = None, say: Callable[[str], None] = lambda _: None
) -> Report:
    """Send at least so many requests; `number` is the seed: the same requests come of the same one.

    Of those at the limits of what the document allows, `most` of each operation are sent.
    """
    schema = schemathesis.openapi.from_dict(dict(scene.document))
    schema.app = scene.app
    operations = [found.ok() for found in schema.get_all_operations()]
    report, promises = Report(), Promises(scene.document)
    sender = Sender(scene, promises, report)
    for operation in operations:
        sender.cover(schema, operation, most)
    say(f"{report.cases:,} cases at the limits of what the document allows")
    rounds = 0
    while report.cases < cases and rounds < 20:
        left = [operation for operation in operations if _varies(operation)]
        each = max(4, (cases - report.cases) // len(left) + 1)
        for place, operation in enumerate(left):
            sender.draw(operation, each, seed_=number * 1_000_000 + rounds * 1000 + place)
            say(f"{report.cases:,} cases, {len(report.findings)} findings: {operation.label}")
        rounds += 1
    for label, counts in report.answers.items():
        if not any(200 <= status < 400 for status in counts):
            report.findings[label, "never answered"] = "no request got anything but errors: nothing was proved"
    return report


class Sender:
    """Sends the cases of an operation, and notes what is wrong with the answers."""

    def __init__(self, scene: Scene, promises: Promises, report: Report) -> None:
        self._scene = scene
        self._promises = promises
        self._report = report

    def cover(self, schema: Any, operation: Any, most: int | None) -> None:
        """Send what schemathesis finds at the limits: the longest, the least, what is missing, other methods."""
        known = self._known(operation)
        found = schema.iter_coverage_cases(
            operation,
            generation_modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE],
            generation_config=schema.config.generation_for(operation=operation),
        )
        for case in islice(found, most):
            self._send(case, [unsupported_method] if case.method.upper() != operation.method.upper() else CHECKS)
        for parameters in known:
            for kind, example in examples_of(operation.definition.raw) or [(None, NOT_SET)]:
                self._send(operation.Case(path_parameters=dict(parameters), body=example, media_type=kind), CHECKS)

    def draw(self, operation: Any, count: int, seed_: int) -> None:
        """Send `count` cases of what the document allows, what it does not, and its examples with a change."""
        examples = [body for kind, body in examples_of(operation.definition.raw) if kind == JSON]
        strategies = []
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            strategies += [
                operation.as_strategy(mode, path_parameters=dict(p) or None) for p in self._known(operation)
            ]
            if operation.path_parameters:
                strategies.append(operation.as_strategy(mode))
        for number, strategy in enumerate(strategies):
            body = st.just(NOT_SET) | changed(examples) if examples else st.just(NOT_SET)
            self._run(strategy, body, -(-count // len(strategies)), seed_ * 10 + number)

    def _run(self, strategy: Any, bodies: Any, count: int, seed_: int) -> None:
        @seed(seed_)
        @settings(
            max_examples=count,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy, body=bodies)
        def send(case: Any, body: Any) -> None:
            if body is not NOT_SET and case.media_type in (None, JSON):
                case.body = body
            self._send(case, CHECKS)

        try:
            send()
        except (Unsatisfiable, SkipTest):  # nothing can be wrong with what has no parameters
            return

    def _known(self, operation: Any) -> list[tuple[tuple[str, str], ...]]:
        """Return the paths that lead somewhere, as their parameters."""
        names = [parameter.name for parameter in operation.path_parameters]
        values = [[(name, value) for value in self._scene.known[name]] for name in names]
        return list(product(*values))

    def _send(self, case: Any, checks: list[Any]) -> None:
        label = case.operation.label
        if case.media_type == JSON and case.body is not NOT_SET:
            case.body = mend(case.body)
        try:
            response = case.call(headers={"x-functions-key": ADMIN_KEY}, timeout=_PATIENCE)
        except Exception as error:  # whatever the API raised is a finding, and the next case is sent
            self._report.findings.setdefault((label, f"raised {type(error).__name__}"), _sample(case, repr(error)))
            self._report.answers.setdefault(label, Counter())[599] += 1
            return
        self._report.answers.setdefault(label, Counter())[response.status_code] += 1
        try:
            case.validate_response(response, checks=checks)
        except FailureGroup as group:
            for failure in group.exceptions:
                self._report.findings.setdefault(
                    (label, failure.title), _sample(case, f"{failure.message}\n{group}")
                )
        if case.method.upper() == case.operation.method.upper() and case.media_type == JSON and checks is CHECKS:
            answer = response.json() if response.status_code == 200 else None
            if broken := self._promises.broken(case.operation, case.body, response.status_code, answer):
                self._report.findings.setdefault((label, broken), _sample(case, response.text[:2000]))


def _varies(operation: Any) -> bool:
    return bool(operation.path_parameters or operation.query or operation.headers or operation.body)


def _sample(case: Any, text: str) -> str:
    return f"{case.method} {case.formatted_path} {str(case.body)[:2000]}\n{text[:3000]}"
