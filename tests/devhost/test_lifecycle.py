"""How a devhost begins and ends."""

import re
import signal
import socket

import httpx2 as httpx
import psutil
import pytest

from devhost.azurite import Azurite, azurite_running, free_ports
from tests.devhost.conftest import wait_until


def test_the_functions_are_listed_as_func_start_does(shared):
    """HTTP functions come with methods and URL, others with their trigger."""
    devhost, _ = shared
    url = devhost.url.replace("127.0.0.1", "localhost")
    assert f"\techo: [POST] {url}/echo/{{name}}/{{number:int?}}\n" in devhost.lines
    assert "\twork: queueTrigger\n" in devhost.lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_exits_0(storage, start, number):
    """Running calls finish, nothing new begins, the exit code is 0 and nothing looks like an error."""
    devhost = start().ready()
    storage.work.send_message("sleep 1")
    wait_until(lambda: storage.told("begun"), "call")
    assert devhost.end(number) == 0, devhost.output
    assert [each["body"] for each in storage.told("done")] == ["sleep 1"]
    assert "Traceback" not in devhost.output
    assert storage.messages(storage.work.queue_name) == []


def test_a_call_that_does_not_end_is_left_behind(storage, start):
    """When the time to drain is up the host exits 0 all the same, and the message comes back."""
    devhost = start("--drain", "0.5").ready()
    storage.work.send_message("sleep 60")
    wait_until(lambda: storage.told("begun"), "call")
    assert devhost.end() == 0, devhost.output
    assert "still running after 0.5 s" in devhost.output
    wait_until(lambda: storage.messages(storage.work.queue_name), "message again")


def test_a_second_signal_leaves_at_once(storage, start):
    """Ctrl+C twice ends the host without waiting for running calls."""
    devhost = start().ready()
    storage.work.send_message("sleep 60")
    wait_until(lambda: storage.told("begun"), "call")
    devhost.process.send_signal(signal.SIGINT)
    wait_until(lambda: "Stopping" in devhost.output, "reaction to the first signal")
    assert devhost.end() == 130, devhost.output


def test_azurite_is_started_and_stopped_with_the_host(start, tmp_path):
    """Azurite that is not up is started on the connection string's ports, and stopped at exit."""
    connection_string = Azurite(*free_ports(2)).connection_string
    devhost = start("--azurite-dir", str(tmp_path), AzureWebJobsStorage=connection_string).ready()
    assert azurite_running(connection_string)
    assert devhost.end() == 0, devhost.output
    assert not azurite_running(connection_string)
    assert (tmp_path / "azurite.log").is_file()


def test_azurite_outlives_a_killed_host(start, tmp_path):
    """A SIGKILLed host leaves Azurite and its data unharmed; the next host finds it up and leaves it up."""
    connection_string = Azurite(*free_ports(2)).connection_string
    first = start("--azurite-dir", str(tmp_path), AzureWebJobsStorage=connection_string).ready()
    azurite = psutil.Process(int(re.search(r"Starting Azurite, process (\d+)", first.output)[1]))
    try:
        first.end(signal.SIGKILL)
        assert azurite_running(connection_string)
        second = start(AzureWebJobsStorage=connection_string).ready()
        assert "Starting Azurite" not in second.output
        assert second.end() == 0, second.output
        assert azurite_running(connection_string)
    finally:
        azurite.terminate()
        azurite.wait(20)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
        ("def broken(:", "SyntaxError"),
        ("x = 1", "Could not find top level function app instances"),
        ("import azure.functions as f; app = f.FunctionApp()", "registers no function"),
        (None, "There is no function_app.py"),
    ],
)
def test_an_app_that_cannot_be_loaded_says_so(start, tmp_path, code, message):
    """An app without functions, for whatever reason, is an error that says the reason, not a silent nothing."""
    if code is not None:
        (tmp_path / "function_app.py").write_text(code)
    devhost = start(app=tmp_path)
    assert devhost.wait() == 1
    assert message in devhost.output


def test_an_error_at_import_shows_its_line(start, tmp_path):
    """The traceback of the app's own error is printed."""
    (tmp_path / "function_app.py").write_text("settings = {}\nsettings['SCORING_CONNECTION']\n")
    devhost = start(app=tmp_path)
    assert devhost.wait() == 1
    assert 'function_app.py", line 2' in devhost.output
    assert "KeyError: 'SCORING_CONNECTION'" in devhost.output


def test_a_missing_setting_stops_the_start(start, tmp_path):
    """A %SETTING% that is nowhere is an error that names function and setting, and starts nothing."""
    (tmp_path / "function_app.py").write_text(
        "import azure.functions as func\n"
        "app = func.FunctionApp()\n"
        "@app.queue_trigger(arg_name='m', queue_name='%NOWHERE%', connection='AzureWebJobsStorage')\n"
        "def f(m: func.QueueMessage) -> None: ...\n"
    )
    devhost = start(app=tmp_path)
    assert devhost.wait() == 1
    assert "Function f: %NOWHERE% does not resolve" in devhost.output


def test_a_port_in_use_stops_the_start(start):
    """A port somebody listens on is an error that names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        devhost = start("--port", str(port))
        assert devhost.wait() == 1
    assert f"Port {port} cannot be used" in devhost.output


def test_a_connection_string_that_is_none_stops_the_start(start):
    """What cannot be read as one is an error that names its setting, and shows nothing of it: it holds a key."""
    devhost = start(AzureWebJobsStorage="AccountKey=secret;garbage")
    assert devhost.wait() == 1
    assert "The connection AzureWebJobsStorage is no storage connection string" in devhost.output
    assert "secret" not in devhost.output
    assert "Traceback" not in devhost.output


def test_a_port_that_is_none_is_misuse(start):
    """A number that no port has is told as other options' values are."""
    devhost = start("--port", "99999")
    assert devhost.wait() == 2
    assert "--port" in devhost.output


def test_a_disabled_function_does_not_run(start):
    """AzureWebJobs.<name>.Disabled leaves a function out."""
    assert "\ttext:" not in start(**{"AzureWebJobs.text.Disabled": "true"}).ready().output


def test_quiet_prints_failures_only(start):
    """With --quiet the console has the list of functions and what fails."""
    devhost = start("--quiet").ready()
    assert httpx.get(f"{devhost.url}/text").text == "plain"
    assert httpx.get(f"{devhost.url}/fail").status_code == 500
    wait_until(lambda: "Executed 'Functions.fail' (Failed" in devhost.output, "failure on the console")
    assert "Functions.text" not in devhost.output
