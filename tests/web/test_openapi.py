"""The document says of the API what is so: every route, every error, and what each model takes and gives."""

import json
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Match, Route
from starlette.testclient import TestClient

import errors
from model_store.registry import Registry
from storage import BlobPath
from tests.echo_model import open_echo
from tests.test_house import CONCRETE
from web.access import Level, level_of
from web.app import create_app
from web.docs import Document
from web.models import Models

METHODS = {"get", "post", "put", "delete", "patch", "head", "options", "trace"}


@pytest.fixture
def document(client) -> dict:
    return client.get("/api/openapi.json").json()


def operations(document) -> dict[tuple[str, str], dict]:
    return {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def routes(client) -> set[tuple[str, str]]:
    """Return each route's methods and path as OpenAPI writes them; HEAD goes with GET."""
    found = set()
    for route in client.app.routes:
        assert isinstance(route, Route), "what is mounted needs a place in the document, too"
        assert ("HEAD" in route.methods) == ("GET" in route.methods), f"{route.path} has GET without HEAD"
        found |= {(method.lower(), route.path_format) for method in route.methods - {"HEAD"}}
    return found


def test_every_route_is_in_the_document_and_nothing_else(client, document) -> None:
    """Each method of each path has its operation; those of single models are reached by the route for any."""
    known = routes(client)
    described = set(operations(document))
    of_models = {("post", "/api/predict/churn"), ("post", "/v2/models/churn/infer")}
    assert described - known == of_models
    assert known - described == set()
    for method, path in of_models:
        scope = {"type": "http", "method": method.upper(), "path": path, "headers": []}
        matched = [route.path_format for route in client.app.routes if route.matches(scope)[0] is Match.FULL]
        assert matched[0] in ("/api/predict/{model}", "/v2/models/{model}/infer")


def test_the_document_is_valid(document) -> None:
    """OpenAPI 3.1's own schema, and each of ours, has nothing against it."""
    OpenAPIV31SpecValidator(document).validate()
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_operation_has_a_name_and_every_parameter_of_its_path(document) -> None:
    """Names are unique, for generated clients; what a path has in braces is described, and nothing else is."""
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(names) == len(set(names))
    for (_, path), operation in operations(document).items():
        in_path = [p["name"] for p in operation.get("parameters", []) if p["in"] == "path"]
        assert [part[1:-1] for part in path.split("/") if part.startswith("{")] == in_path, path


def test_what_a_path_asks_for_is_what_the_table_of_levels_says(document) -> None:
    """Open paths need nothing, the others a key in one of two places; a 401 only comes where one is needed."""
    for (_, path), operation in operations(document).items():
        schemes = [name for entry in operation["security"] for name in entry]
        wanted = {Level.ANONYMOUS: "", Level.FUNCTION: "function", Level.ADMIN: "admin"}[level_of(path)]
        assert schemes == ([f"{wanted}Key", f"{wanted}Code"] if wanted else []), path
        assert ("401" in operation["responses"]) == bool(wanted)
        assert set(schemes) <= set(document["components"]["securitySchemes"])


def test_every_error_is_in_the_form_of_its_protocol(document) -> None:
    """MLflow's paths answer MLflow's errors, v2 its own, all others ours; each says how a bug is answered."""
    for (_, path), operation in operations(document).items():
        wanted = {
            "invocations": "MlflowError",
            "endpoints": "MlflowError",
            "score": "MlflowError",
            "v2": "InferenceError",
        }.get(path.split("/")[1], "Error")
        assert "500" in operation["responses"]
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert f"#/components/schemas/{wanted}" in json.dumps(response), (path, status)


def test_codes_of_errors_are_those_of_the_tree(document) -> None:
    """No code is documented that no error has, nor under another status than its own."""
    known = {(str(kind.status), kind.code) for kind in CONCRETE} | {("500", "internal"), ("404", "http_404")}
    said = {
        (status, line.split("`")[1])
        for operation in operations(document).values()
        for status, response in operation["responses"].items()
        for line in response["description"].splitlines()
        if line.startswith("- `")
    }
    assert said <= known
    assert {("401", errors.UnauthorizedError.code), ("404", errors.ModelNotFoundError.code)} <= said


def resolver(document, name: str) -> Draft202012Validator:
    """Return what checks against a schema of the document."""
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


def body_of(document, path: str) -> tuple[Draft202012Validator, dict]:
    content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    schema = content["schema"] | {"components": document["components"]}
    return Draft202012Validator(schema), {name: e["value"] for name, e in content["examples"].items()}


def test_a_models_input_example_is_valid_and_answered_as_described(client, document) -> None:
    """Each form of the example fits the typed schema, is scored, and the answer fits its schema."""
    body, examples = body_of(document, "/api/predict/churn")
    assert list(examples) == ["one row", "rows", "columns"]
    for example in examples.values():
        body.validate(example)
        answer = client.post("/api/predict/churn", json=example)
        assert answer.status_code == 200
        resolver(document, "churn.PredictAnswer").validate(answer.json())
        assert all("error" not in row for row in answer.json()["predictions"])


def test_every_protocols_examples_are_valid_and_scored(client, document) -> None:
    """What the page offers to try works as it stands: MLflow's forms, CSV, tensors."""
    for path, schema in (
        ("/invocations", None), ("/score", None), ("/v2/models/churn/infer", "InferenceAnswer"),
    ):  # fmt: skip
        body, examples = body_of(document, path)
        assert examples
        for example in examples.values():
            body.validate(example)
            answer = client.post(path, json=example)
            assert answer.status_code == 200, answer.text
            if schema:
                resolver(document, schema).validate(answer.json())
    [text] = document["paths"]["/invocations"]["post"]["requestBody"]["content"]["text/csv"]["examples"].values()
    answer = client.post("/invocations", content=text["value"], headers={"content-type": "text/csv"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("row", "fits"),
    [
        ({"age": 20, "visits": 3, "member": True, "plan": "basic"}, True),
        ({"age": None, "visits": 3, "member": True, "plan": None, "more": [1]}, True),
        ({"age": 20, "visits": None, "member": True, "plan": "basic"}, False),
        ({"age": 20, "visits": 2**63, "member": True, "plan": "basic"}, False),
        ({"age": 20, "visits": 1.5, "member": True, "plan": "basic"}, False),
        ({"age": "20", "visits": 3, "member": True, "plan": "basic"}, False),
        ({"age": 20, "visits": 3, "member": "yes", "plan": "basic"}, False),
        ({"age": 20, "visits": 3, "member": True, "plan": 1}, False),
        ({"age": 20, "visits": 3, "member": True}, False),
    ],
)
def test_the_schema_of_a_row_says_what_is_scored(client, document, row, fits) -> None:
    """A row fits its model's schema exactly if it is scored."""
    assert resolver(document, "churn.Row").is_valid(row) is fits
    answer = client.post("/api/predict/churn", json=row)
    scored = answer.status_code == 200 and "error" not in answer.json()["predictions"][0]
    assert scored is fits


def test_every_type_of_column_has_its_schema(services, client, tmp_path) -> None:
    """A model with a column of each type is described, and its example is scored."""
    open_echo(tmp_path / "echo")
    Registry(services.blobs, services.settings.models).add("echo", tmp_path / "echo")
    document = client.get("/api/openapi.json").json()
    row = document["components"]["schemas"]["echo.Row"]["properties"]
    assert {name: schema["type"] for name, schema in row.items()} == {
        "flag": "boolean",
        "small": "integer",
        "whole": "integer",
        "single": ["number", "null"],
        "number": ["number", "null"],
        "text": ["string", "null"],
        "at": "string",
    }
    body, examples = body_of(document, "/api/predict/echo")
    for example in examples.values():
        body.validate(example)
        answer = client.post("/api/predict/echo", json=example).json()
        resolver(document, "echo.PredictAnswer").validate(answer)
        assert all("error" not in row for row in answer["predictions"])


def test_a_damaged_package_hides_only_itself(services, packages, client) -> None:
    """A model that cannot be described is named as such; the others are described."""
    registry = Registry(services.blobs, services.settings.models)
    for file in ("MLmodel", "input_example.json"):
        name = f"damaged-{file.partition('.')[0].replace('_', '-')}"
        registry.add(name, packages(-1.0))
        services.blobs.write(BlobPath("models", f"{name}/1/{file}"), b"{}")
    document = client.get("/api/openapi.json").json()
    assert {path for path in document["paths"] if path.startswith("/api/predict/")} == {
        "/api/predict/{model}", "/api/predict/churn",
    }  # fmt: skip
    assert "damaged: damaged-MLmodel, damaged-input-example" in document["info"]["description"]


def test_the_document_is_read_anew_when_aliases_are(services, packages) -> None:
    """Within `alias_seconds` the document stays as it is; after that a new model is in it, under a new ETag."""
    registry = Registry(services.blobs, services.settings.models)
    models = Models(lambda: services, services.settings)
    kept = Document(models, replace(services.settings, alias_seconds=3600))
    fresh = Document(models, replace(services.settings, alias_seconds=0))
    before = (kept.text(), fresh.text())
    registry.add("second", packages(-1.0))
    assert kept.text() is before[0]
    assert b"second.Row" in fresh.text().content
    assert fresh.text().etag != before[1].etag


def test_a_document_that_is_known_is_not_sent_again(client) -> None:
    """If-None-Match with its ETag is answered 304, any other with the document; HEAD has the headers alone."""
    first = client.get("/api/openapi.json")
    etag = first.headers["etag"]
    assert client.get("/api/openapi.json", headers={"if-none-match": f'"other", W/{etag}'}).status_code == 304
    assert client.get("/api/openapi.json", headers={"if-none-match": '"other"'}).status_code == 200
    head = client.head("/api/openapi.json")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", etag)


def test_no_model_is_needed(services, tmp_path) -> None:
    """An API without any model is described all the same."""
    empty = replace(services.settings, folder=str(tmp_path / "empty"))
    opened = type(services).open(empty)
    with TestClient(create_app(lambda: opened, empty)) as client:
        document = client.get("/api/openapi.json").json()
    opened.engine.close()
    OpenAPIV31SpecValidator(document).validate()
    assert "/api/predict/{model}" in document["paths"]
