"""The README's lines for curl do what it says they do."""

import re
import subprocess

import pytest

BASE = "http://localhost:7071"


def curl_commands(text: str) -> list[str]:
    """Return the commands of shell blocks that begin with curl, with those of their lines that go on."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("curl ")]


def run(command: str, facts) -> subprocess.CompletedProcess:
    assert BASE in command
    words = command.replace("curl ", "curl --silent --show-error --fail-with-body ", 1).replace(BASE, facts.url)
    return subprocess.run(["/bin/sh", "-c", words], cwd=facts.folder, check=False, capture_output=True, text=True)


def test_every_line_works(facts, readme: str) -> None:
    """Each is answered with a success, and none is left out for what it asks."""
    commands = curl_commands(readme)
    assert commands
    for command in commands:
        done = run(command, facts)
        assert done.returncode == 0, (command, done.stdout, done.stderr)


def test_one_row_is_scored(facts, readme: str) -> None:
    """The one that asks for a row gets its prediction."""
    [command] = [command for command in curl_commands(readme) if "/api/predict/flights" in command]
    assert '"predictions":[{' in run(command, facts).stdout


@pytest.mark.parametrize("path", ["/ping", "/health", "/version", "/v2/health/live", "/v2/health/ready"])
def test_probes_are_answered(facts, path: str) -> None:
    """What load balancers and orchestrators ask is answered with 200."""
    words = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", facts.url + path]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert done.stdout == "200"
