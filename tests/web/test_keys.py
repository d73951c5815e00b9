"""Keys under uvicorn: who gets in, and how those who do not are told."""

from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from errors import SettingsError
from settings import Settings
from tests.scoring.test_rows import ROW
from web.access import GRANTED, Level
from web.app import create_app
from web.keys import Keys, check_by, check_granted, hide_key

ALIAS = "/api/models/churn/aliases/champion"
FUNCTION, OTHER, ADMIN = "f-key-1", "f-key-2", "a-key"


@pytest.fixture
def locked(services):
    settings = replace(services.settings, function_keys=f"{FUNCTION}, {OTHER},", admin_keys=ADMIN)
    with TestClient(create_app(lambda: services, settings, check_by(settings))) as client:
        yield client


def code(answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_key_lets_in(locked) -> None:
    """Any function key or admin key does, in the header or as ?code=."""
    for key in (FUNCTION, OTHER, ADMIN):
        assert locked.post("/api/predict/churn", json=ROW, headers={"x-functions-key": key}).status_code == 200
        assert locked.post(f"/api/predict/churn?x=1&code={key}", json=ROW).status_code == 200


@pytest.mark.parametrize("key", ["", "f-key", "f-key-11", "F-KEY-1", "f-key-1,f-key-2", " ", "é", "f-key-1\0"])
def test_what_is_no_key_does_not(locked, key: str) -> None:
    """Nothing, part of a key, another case or two at once are no key."""
    assert code(locked.get("/api/runs/x", params={"code": key})) == (401, "unauthorized")
    answer = locked.get("/api/runs/x", headers={"x-functions-key": key.encode()})
    assert code(answer) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("APIKey ")
    assert not key.strip() or key not in answer.text


def test_the_header_comes_before_the_query(locked) -> None:
    """As on the host, a header counts even where it is empty and the query has a key."""
    for header in ("wrong", ""):
        answer = locked.get(f"/api/runs/x?code={FUNCTION}", headers={"x-functions-key": header})
        assert code(answer) == (401, "unauthorized")
    twice = [("x-functions-key", "wrong"), ("x-functions-key", FUNCTION)]
    assert code(locked.get("/api/runs/x", headers=twice)) == (401, "unauthorized")


def test_a_key_in_the_query_may_be_percent_encoded() -> None:
    """Keys of Azure end in "==", and have "+" and "/" in them; the name may be written in other ways, as there."""
    keys = Keys("ab+/c==", "")
    given = ((b"code=ab%2B%2Fc%3D%3D", False), (b"code=ab+/c==", True), (b"%63ODE=ab%2b/c==", False))
    for query, refused in given:
        scope = {"headers": [], "query_string": b"a=1&" + query + b"&b=%20&code=x"}
        hide_key(scope)
        assert (keys.check(scope, Level.FUNCTION) is not None) is refused
        assert scope["query_string"] == b"a=1&b=%20"


def test_what_changes_models_needs_an_admin_key(locked) -> None:
    """A function key gets a 403 there, none a 401, and the admin key passes."""
    assert code(locked.put(ALIAS, headers={"x-functions-key": FUNCTION})) == (403, "forbidden")
    assert code(locked.put(ALIAS)) == (401, "unauthorized")
    assert locked.put(ALIAS, headers={"x-functions-key": ADMIN}).status_code not in (401, 403)
    encoded = ALIAS.replace("/aliases/", "%2Faliases%2F")
    assert code(locked.put(encoded, headers={"x-functions-key": FUNCTION})) == (403, "forbidden")


def test_open_paths_need_no_key(locked) -> None:
    """Health is for anyone, wherever the API is mounted."""
    for path in ("/ping", "/health", "/version", "/api/health", "/v2/health/live", "/v2/health/ready"):
        assert locked.get(path).status_code == 200


def test_a_prefix_opens_nothing(services) -> None:
    """Below a prefix (uvicorn --root-path) the levels are those of the paths that are routed."""
    settings = replace(services.settings, function_keys=FUNCTION, admin_keys=ADMIN)
    app = create_app(lambda: services, settings, check_by(settings))
    with TestClient(app, root_path="/ping") as client:
        assert client.get("/ping/ping").status_code == 200
        answer = client.put(f"/ping{ALIAS}", headers={"x-functions-key": FUNCTION})
        assert code(answer) == (403, "forbidden")
        assert client.get("/ping/api/runs/x").status_code == 401


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/invocations", {"error_code": "UNAUTHENTICATED", "message": ...}),
        ("/score", {"error_code": "UNAUTHENTICATED", "message": ...}),
        ("/v2/models/churn/infer", {"error": ...}),
        ("/api/nothing", {"error": {"code": "unauthorized", "message": ...}}),
    ],
)
def test_each_protocol_has_its_own_form_of_401(locked, path: str, body: dict) -> None:
    """Clients of a protocol read the refusal as any other error of it; unknown paths tell no stranger that."""
    answer = locked.post(path, json={})
    assert answer.status_code == 401
    text = "send a key in the header x-functions-key, or as ?code="
    filled = {
        k: {**v, "message": text} if isinstance(v, dict) else text if v is ... else v for k, v in body.items()
    }
    assert answer.json() == filled


def test_without_keys_nobody_gets_in_and_is_told_why(services) -> None:
    """An API whose keys nobody has set says what to set; open paths answer."""
    with TestClient(create_app(lambda: services, services.settings, check_by(services.settings))) as client:
        answer = client.get("/api/runs/x", headers={"x-functions-key": "any"})
        assert code(answer) == (401, "unauthorized")
        assert "DROPSCORE_FUNCTION_KEYS" in answer.json()["error"]["message"]
        assert client.get("/api/health").status_code == 200


def test_the_check_can_be_switched_off(services) -> None:
    """With DROPSCORE_HTTP_AUTH=anonymous nobody is asked, and another word is refused at the start."""
    settings = replace(services.settings, http_auth="anonymous", function_keys=FUNCTION)
    with TestClient(create_app(lambda: services, settings, check_by(settings))) as client:
        assert client.get("/api/runs/x").status_code == 404
    with pytest.raises(SettingsError, match="DROPSCORE_HTTP_AUTH"):
        Settings.load({"DROPSCORE_HTTP_AUTH": "Anonymous"})


@pytest.mark.parametrize("keys", ["good,ké", "a\tb", "a\x7f"])
def test_a_key_that_no_header_can_bring_is_refused(keys: str) -> None:
    """Such a key would never let anybody in; the error does not repeat it."""
    with pytest.raises(SettingsError, match="ASCII") as caught:
        Keys("", keys)
    assert keys not in str(caught.value)


def test_settings_show_no_key() -> None:
    """A log line or traceback with the settings in it gives no key away."""
    shown = repr(Settings(function_keys=FUNCTION, admin_keys=ADMIN))
    assert FUNCTION not in shown
    assert ADMIN not in shown


def test_under_the_host_a_request_gets_what_it_was_let_in_for() -> None:
    """A scope that says no level, or less than the path needs, is refused."""
    assert check_granted({}, Level.ANONYMOUS) is None
    assert check_granted({}, Level.FUNCTION) is not None
    assert check_granted({GRANTED: Level.FUNCTION}, Level.FUNCTION) is None
    assert check_granted({GRANTED: Level.FUNCTION}, Level.ADMIN) is not None
    assert check_granted({GRANTED: Level.ADMIN}, Level.FUNCTION) is None
