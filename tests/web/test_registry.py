"""The registry over HTTP: /api/models, versions and aliases."""

import pytest
from starlette.testclient import TestClient

from model_store.registry import Registry
from storage import BlobPath
from web.app import create_app


@pytest.fixture
def registry(services, packages) -> Registry:
    """Return the registry with three versions of churn, the first of them its champion."""
    made = Registry(services.blobs, services.settings.models)
    for bias in (-1.0, -1.5):
        made.add("churn", packages(bias))
    made.set_alias("churn", "champion", 1)
    return made


def test_models_are_listed(client, registry, packages) -> None:
    """Each name with the numbers of its versions and its aliases, by name."""
    registry.add("Another", packages(-1.0))
    assert client.get("/api/models").json() == {
        "models": [
            {"name": "Another", "versions": [1], "aliases": {}},
            {"name": "churn", "versions": [1, 2, 3], "aliases": {"champion": 1}},
        ]
    }


def test_no_models(services) -> None:
    """An empty registry is an empty list."""
    Registry(services.blobs, services.settings.models).delete("churn", 1)
    with TestClient(create_app(lambda: services, services.settings)) as client:
        assert client.get("/api/models").json() == {"models": []}


def test_a_model_is_shown_with_its_versions(client, registry) -> None:
    """Versions with digest and aliases; `current` is what the bare name means: the champion, or the newest."""
    registry.set_alias("churn", "challenger", 3)
    shown = client.get("/api/models/churn").json()
    assert (shown["name"], shown["current"]) == ("churn", 1)
    assert shown["aliases"] == {"champion": 1, "challenger": 3}
    digests = [version.digest for version in registry.versions("churn")]
    assert shown["versions"] == [
        {"version": number, "digest": digest, "aliases": aliases}
        for number, digest, aliases in zip([1, 2, 3], digests, [["champion"], [], ["challenger"]], strict=True)
    ]
    registry.remove_alias("churn", "champion")
    assert client.get("/api/models/churn").json()["current"] == 3


@pytest.mark.usefixtures("registry")
def test_a_damaged_version_hides_no_other(client, services) -> None:
    """It has no digest in the list; only asking for itself is an error, which says that it is damaged."""
    services.blobs.write(BlobPath("models", "churn/1/dropscore.json"), b"damaged")
    shown = client.get("/api/models/churn").json()
    assert [version["digest"] is None for version in shown["versions"]] == [True, False, False]
    answer = client.get("/api/models/churn/versions/1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "package_invalid")
    assert client.get("/api/models/churn/versions/2").status_code == 200


def test_a_version_is_shown_with_what_it_takes_and_how_it_was_checked(client, registry) -> None:
    """Signature, parity, aliases and digest, by its number or by an alias."""
    shown = client.get("/api/models/churn/versions/1").json()
    assert client.get("/api/models/churn/versions/champion").json() == shown
    assert (shown["name"], shown["version"], shown["aliases"]) == ("churn", 1, ["champion"])
    info = registry.describe(registry.resolve("churn@1"))
    assert shown["digest"] == info.digest
    inputs = shown["signature"]["inputs"]
    assert [column["name"] for column in inputs] == ["age", "visits", "member", "plan"]
    assert [column["nullable"] for column in inputs] == [column.nullable for column in info.signature.inputs]
    assert [column["name"] for column in shown["signature"]["outputs"]] == ["prediction", "probability_leave"]
    assert shown["parity"]["label_flips"] == 0
    assert shown["parity"]["rows"] == info.parity.rows
    assert shown["bytes"] == info.size


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("nope", 404, "model_not_found"),
        ("ch urn", 400, "reference_invalid"),
        ("churn@1", 400, "reference_invalid"),
        ("..", 400, "reference_invalid"),
        ("nope/versions/1", 404, "model_not_found"),
        ("churn/versions/9", 404, "model_not_found"),
        ("churn/versions/0", 400, "reference_invalid"),
        ("churn/versions/nope", 404, "model_not_found"),
        ("churn/versions/1.5e3", 404, "model_not_found"),
    ],
)
def test_what_is_not_there_is_not_shown(client, path: str, status: int, code: str) -> None:
    """Unknown names and versions are 404, what can be neither is 400."""
    answer = client.get(f"/api/models/{path.replace('..', '%2e%2e')}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_an_alias_is_moved_and_taken_away(client, registry) -> None:
    """PUT points it at a version, again and again; DELETE takes it away, once."""
    path = "/api/models/churn/aliases/challenger"
    for number in (2, 3, 3):
        answer = client.put(path, json={"version": number})
        assert (answer.status_code, answer.json()) == (
            200,
            {"name": "churn", "alias": "challenger", "version": number},
        )
        assert registry.aliases("churn") == {"champion": 1, "challenger": number}
    gone = client.delete(path)
    assert (gone.status_code, gone.json()) == (200, {"name": "churn", "alias": "challenger", "version": None})
    assert registry.aliases("churn") == {"champion": 1}
    assert client.delete(path).json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("alias", "body", "refused"),
    [
        ("champion", '{"version": 9}', (404, "model_not_found")),
        ("champion", '{"version": 1000000000000000000000000000000}', (404, "model_not_found")),
        ("3", '{"version": 1}', (400, "reference_invalid")),
        ("a b", '{"version": 1}', (400, "reference_invalid")),
        ("champion", '{"version": 0}', (400, "message_invalid")),
        ("champion", '{"version": true}', (400, "message_invalid")),
        ("champion", '{"version": 2.0}', (400, "message_invalid")),
        ("champion", '{"version": "2"}', (400, "message_invalid")),
        ("champion", '{"version": 2, "if": 1}', (400, "message_invalid")),
        ("champion", '{"version": 2, "version": 3}', (400, "message_invalid")),
        ("champion", "[2]", (400, "message_invalid")),
        ("champion", "", (400, "message_invalid")),
    ],
)
def test_an_alias_is_moved_to_no_odd_place(client, registry, alias: str, body: str, refused: tuple) -> None:
    """Only to a registered version, and only by a body that says nothing else; it stays where it is."""
    answer = client.put(f"/api/models/churn/aliases/{alias}", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == refused
    assert registry.aliases("churn") == {"champion": 1}


def test_other_methods_on_an_alias_are_told_which_there_are(client) -> None:
    """An alias cannot be read by itself: the model's own answer has it."""
    answer = client.get("/api/models/churn/aliases/champion")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"PUT", "DELETE"}
