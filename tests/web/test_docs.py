"""The page of the document: what it loads is ours to serve, and nothing comes from elsewhere."""

import re
from pathlib import Path

import pytest

import web.docs
from errors import SettingsError

PAGE = "/api/docs"
ASSETS = ["docs.css", "docs.js", "swagger-ui.css", "swagger-ui-bundle.js"]


def test_the_page_loads_its_own_files_alone(client) -> None:
    """Each file that the page names is one that is served; it has no script or style of its own, and no address."""
    page = client.get(PAGE)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert {name for name in loaded if name not in ("data:,", "openapi.json")} == {
        f"docs/assets/{name}" for name in ASSETS
    }
    assert re.findall(r"<script[^>]*>(?!</script>)|<style|style=|\son\w+=|https?:", page.text) == []


def test_the_page_may_do_nothing_else(client) -> None:
    """Its policy names no origin but its own, allows nothing inline, and nobody may put it in a frame."""
    headers = client.get(PAGE).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("name", ASSETS)
def test_files_of_the_page_are_served_with_their_type(client, name: str) -> None:
    """Each has its type, is sent compressed to who takes that, and not at all to who has it."""
    url = f"{PAGE}/assets/{name}"
    plain = client.get(url, headers={"accept-encoding": "identity"})
    assert plain.status_code == 200
    assert plain.headers["content-type"] == f"text/{'css' if name.endswith('css') else 'javascript'}; charset=utf-8"
    assert plain.headers["x-content-type-options"] == "nosniff"
    zipped = client.get(url, headers={"accept-encoding": "gzip"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert zipped.content == plain.content
    for never in ("gzip;q=0", "br, gzip ; q=0.0 , deflate", "gzipped;q=0, gzip;q=0.000"):
        assert "content-encoding" not in client.get(url, headers={"accept-encoding": never}).headers
    assert "content-encoding" in client.get(url, headers={"accept-encoding": "br, GZIP;q=0.5"}).headers
    assert plain.headers["etag"].startswith("W/")  # as it is that of other bytes, too
    assert plain.headers["etag"] == zipped.headers["etag"]
    again = client.get(url, headers={"if-none-match": plain.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name", ["other.js", "docs.html", "..%2Fdocs.py", "__init__.py", "favicon-32x32.png", "%00"]
)
def test_no_other_file_is_served(client, name: str) -> None:
    """What the page does not load is not there, wherever it may lie."""
    answer = client.get(f"{PAGE}/assets/{name}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "http_404")


def test_a_missing_package_is_said(client, monkeypatch) -> None:
    """Where Swagger UI is not installed, the page's file is an error of settings that says what to install."""
    web.docs._asset.cache_clear()
    monkeypatch.setattr(web.docs, "_ASSETS", {"swagger-ui.css": ("no_such_package", "text/css")})
    answer = client.get(f"{PAGE}/assets/swagger-ui.css")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "settings_invalid")
    with pytest.raises(SettingsError, match="no-such-package: install"):
        web.docs._asset("swagger-ui.css")


def test_our_files_name_no_address() -> None:
    """Nothing that we wrote for the page leads elsewhere."""
    for file in Path(web.docs.__file__).with_name("assets").iterdir():
        assert not re.search(r"https?://", file.read_text("utf-8")), file.name
