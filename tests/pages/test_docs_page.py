"""The docs page in Chromium, without any network but this machine, over a real server."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hand_model import hand_scores
from tests.pages.browser import Page, opened

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / ".pages"
OPERATION = "#operations-predict-predict_churn"
KEY = "a-function-key"


@pytest.fixture
def serve(services) -> Iterator[Callable[..., str]]:
    """Return a function that starts uvicorn, with settings, and gives the API's address."""
    started = []

    def start(**settings: str) -> str:
        listening = socket.create_server(("127.0.0.1", 0))  # requests wait in it until the server is up
        environment = os.environ | {
            "DROPSCORE_FOLDER": services.settings.folder,
            "DROPSCORE_CACHE": services.settings.cache,
            **settings,
        }
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "web.app:app",
            "--fd",
            str(listening.fileno()),
            "--no-access-log",
        ]
        fd = listening.fileno()
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=[fd]))
        port = listening.getsockname()[1]
        listening.close()
        return f"http://127.0.0.1:{port}"

    yield start
    for server in started:
        server.terminate()
        server.wait()


@pytest.fixture
def page(tmp_path) -> Iterator[Page]:
    with opened(tmp_path / "profile") as tab:
        yield tab


def try_out(page: Page) -> dict:
    """Open the operation of the model, send its example as it stands, and return the answer that is shown."""
    page.click(f"{OPERATION} .opblock-summary-control")
    page.click(f"{OPERATION} .execute")
    shown = f"{OPERATION} .live-responses-table tr.response"
    assert page.text(f"{shown} .response-col_status").startswith("200")
    return json.loads(page.text(f"{shown} .highlight-code pre"))


def check_quiet(page: Page, base: str) -> None:
    """Nothing was asked of anybody else, the policy held nothing back, and no error was logged."""
    outside = [url for url in page.requested if not url.startswith((f"{base}/", "data:", "blob:"))]
    assert outside == []
    assert page.run("window.violations") == []
    assert [line for line in page.logged if line.startswith(("error", "exception"))] == []


def example_row(services) -> dict:
    table = json.loads(
        (Path(services.settings.folder) / "models" / "churn" / "1" / "input_example.json").read_text("utf-8")
    )
    return dict(zip(table["columns"], table["data"][0], strict=True))


def test_a_request_is_sent_from_the_page(services, serve, page) -> None:
    """The page shows the API, and what it offers to try is scored; all of it comes from the server itself."""
    base = serve(DROPSCORE_HTTP_AUTH="anonymous")
    page.open(f"{base}/api/docs")
    assert "Dropscore" in page.text(".info .title")
    answer = try_out(page)
    row = example_row(services)
    expected = hand_scores([(row["age"], row["visits"], row["member"], row["plan"])])[0]
    assert answer["predictions"][0]["probability_leave"] == pytest.approx(expected, abs=1e-15)
    assert answer["model"]["name"] == "churn"
    page.run(f"document.querySelector('{OPERATION}').scrollIntoView()")
    PICTURES.mkdir(exist_ok=True)
    page.save_picture(PICTURES / "docs.png")
    page.run("window.scrollTo(0, 0)")
    page.save_picture(PICTURES / "docs-top.png")
    check_quiet(page, base)
    assert f"{base}/api/predict/churn" in page.requested


def test_the_page_asks_for_a_key_and_sends_it(serve, page) -> None:
    """Without a key the page shows nothing of the API; a wrong one is refused, a right one is sent too."""
    base = serve(DROPSCORE_FUNCTION_KEYS=KEY)
    page.open(f"{base}/api/docs")
    page.wait("!document.getElementById('ask').hidden")
    assert page.run("document.querySelector('.info')") is None
    page.type("#key", "wrong")
    page.click("#ask button")
    assert "not one of" in page.wait("/not/.test(said.textContent) && said.textContent")
    PICTURES.mkdir(exist_ok=True)
    page.save_picture(PICTURES / "docs-key.png")
    page.run("document.getElementById('key').value = ''")
    page.type("#key", KEY)
    page.click("#ask button")
    assert try_out(page)["model"]["version"] == 1
    assert page.run("window.violations") == []


def test_a_key_in_the_address_leaves_it(serve, page) -> None:
    """A key as Azure's own links have it opens the page, and is no longer in the address bar or the history."""
    base = serve(DROPSCORE_FUNCTION_KEYS=KEY)
    page.open(f"{base}/api/docs?code={KEY}")
    assert "Dropscore" in page.text(".info .title")
    assert page.run("window.location.href") == f"{base}/api/docs"
    assert try_out(page)["model"]["version"] == 1
    check_quiet(page, base)
