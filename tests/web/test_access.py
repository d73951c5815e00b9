"""One table says who may ask for what; the API's routes and function_app.py's functions agree with it."""

import azure.functions as func
import pytest
from starlette.routing import Route

import function_app
from web.access import ENTRIES, REST, Level, level_of
from web.app import create_app

OPEN = {
    "/ping",
    "/health",
    "/version",
    "/api/health",
    "/v2/health/live",
    "/v2/health/ready",
    "/api/docs",
    "/api/docs/assets/{path}",
}
"""The routes that need no key: nothing here says anything of models, files or runs."""

ADMIN = {"/api/models/{name}/aliases/{alias}"}


def routes(services) -> list[Route]:
    found = create_app(lambda: services, services.settings).routes
    assert all(hasattr(route, "path_format") for route in found), "a mounted app needs a place in the table, too"
    return found


def test_every_route_has_the_level_it_should(services) -> None:
    """Open are the paths that hold no data, for admins those that change models; all others need a function key."""
    for route in routes(services):
        wanted = (
            Level.ANONYMOUS
            if route.path_format in OPEN
            else Level.ADMIN
            if route.path_format in ADMIN
            else Level.FUNCTION
        )
        assert level_of(route.path_format) is wanted, route.path_format


def test_no_parameter_of_a_route_changes_its_level(services) -> None:
    """Whatever a path's parameters hold, slashes where they may, it needs what its route needs."""
    values = ("x", "x/y", "aliases", "models/x/aliases/y", "ping", "..", "%2F", "\n", "api/docs")
    for route in routes(services):
        for value in values:
            path = route.path_format
            for name in route.param_convertors:
                path = path.replace(f"{{{name}}}", value)
            if route.path_regex.match(path):
                assert level_of(path) is level_of(route.path_format), (route.path_format, path)


def test_what_changes_models_is_for_admins(services) -> None:
    """A route below /api/models that does more than read has the level ADMIN."""
    for route in routes(services):
        if route.path_format.startswith("/api/models") and route.methods - {"GET", "HEAD"}:
            assert level_of(route.path_format) is Level.ADMIN, route.path_format


@pytest.mark.parametrize(
    ("path", "level"),
    [
        ("/api/models/churn/aliases/champion", Level.ADMIN),
        ("/api/models/churn/aliases/", Level.ADMIN),
        ("/api/models/churn/aliases", Level.FUNCTION),
        ("/api/models/churn\n/aliases/\n", Level.ADMIN),
        ("/api/docs", Level.ANONYMOUS),
        ("/api/docs/assets/a.js", Level.ANONYMOUS),
        ("/api/docsx", Level.FUNCTION),
        ("/api/openapi.json", Level.FUNCTION),
        ("/v2/health/ready", Level.ANONYMOUS),
        ("/v2", Level.FUNCTION),
        ("/ping/", Level.FUNCTION),
        ("/PING", Level.FUNCTION),
        ("ping", Level.FUNCTION),
        ("//ping", Level.FUNCTION),
        ("/", Level.FUNCTION),
        ("", Level.FUNCTION),
    ],
)
def test_a_path_is_read_to_the_letter(path: str, level: Level) -> None:
    """What is not in the table, however like it, needs a function key."""
    assert level_of(path) is level


def http_functions() -> list[tuple[str, dict]]:
    every = [(each.get_function_name(), each.get_trigger().get_dict_repr()) for each in app_functions()]
    return [(name, trigger) for name, trigger in every if trigger["type"] == "httpTrigger"]


def app_functions() -> list:
    # The worker asks for them once; asking twice would register them twice.
    return [builder._function for builder in function_app.app._function_builders]


def test_function_app_has_a_function_for_each_entry() -> None:
    """The functions that the host sees have the table's templates and levels, and take every method."""
    found = {name: (trigger["route"], trigger["authLevel"]) for name, trigger in http_functions()}
    assert found == {entry.function: (entry.template, func.AuthLevel[entry.level.name]) for entry in ENTRIES}
    assert not [name for name, trigger in http_functions() if trigger.get("methods")]


def test_the_function_that_takes_the_rest_comes_last() -> None:
    """The host asks functions in the order of their names, and takes the first whose route fits."""
    assert max((entry.function for entry in ENTRIES), key=str.upper) == REST.function
