"""Route templates match as ASP.NET's do."""

import pytest

from devhost.errors import StartupError
from devhost.routes import compile_route


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("a/b", "/A/b/", {}),
        ("a/b", "/a", None),
        ("a/b", "/a/b/c", None),
        ("a/{x}", "/a/b%20c", {"x": "b c"}),
        ("a/{x}", "/a", None),
        ("a/{x}", "/a//", None),
        ("a/{x?}", "/a", {}),
        ("a/{x=7}", "/a", {"x": "7"}),
        ("a/{x:int}", "/a/-12", {"x": "-12"}),
        ("a/{x:int}", "/a/12b", None),
        ("a/{x:int?}", "/a", {}),
        ("a/{x:int:min(3)}", "/a/2", None),
        ("a/{x:int:min(3)}", "/a/3", {"x": "3"}),
        ("a/{x:range(1,5)}", "/a/6", None),
        ("a/{x:guid}", "/a/0f8fad5b-d9cb-469f-a165-70867728950e", {"x": "0f8fad5b-d9cb-469f-a165-70867728950e"}),
        ("a/{x:alpha}", "/a/b1", None),
        ("a/{x:regex(^[a-c]+$)}", "/a/d", None),
        ("a/{x:regex(^b{{2}}$)}", "/a/bb", {"x": "bb"}),
        ("files/{name}.{ext}", "/files/a.b.csv", {"name": "a", "ext": "b.csv"}),
        ("a/{*rest}", "/a/b/c%2Fd", {"rest": "b/c/d"}),
        ("a/{*rest}", "/a", {}),
        ("{*rest}", "/", {}),
        ("{ignored:maxlength(0)?}", "/", {}),
        ("{ignored:maxlength(0)?}", "/x", None),
        ("", "/", {}),
    ],
)
def test_a_template_fits_a_path_or_does_not(template, path, values):
    """A path gives the template's parameters, percent-decoded, or does not match at all."""
    assert compile_route(template).match(path) == values


@pytest.mark.parametrize("template", ["admin/x", "Runtime", "a/{x:zip}", "a/{x", "a/x}", "{*all}/b"])
def test_a_route_that_cannot_work_is_refused(template):
    """The host's own routes, unknown constraints and broken braces are errors at start-up."""
    with pytest.raises(StartupError, match="route"):
        compile_route(template)
