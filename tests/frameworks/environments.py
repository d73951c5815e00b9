"""Make an environment for each framework that is too heavy for .venv, and run its tests there.

`python -m tests.frameworks.environments [name …]`; `make test-frameworks` runs all. Environments are kept under
.venv-frameworks/ and made anew when their requirements change.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = ROOT / ".venv-frameworks"


@dataclass(frozen=True)
class Environment:
    """A Python of its own for one framework."""

    name: str
    python: str
    """Which minor version: each of those that we support once."""
    folder: Path = HERE
    """Where its requirements are."""

    @property
    def requirements(self) -> Path:
        """What is installed in it, with hashes."""
        return self.folder / f"requirements-{self.name}.txt"

    @property
    def interpreter(self) -> Path:
        """Its Python."""
        return FOLDER / self.name / "bin" / "python"

    def make(self) -> None:
        """Create it and install its requirements, unless that was done before."""
        mark = FOLDER / self.name / ".ready"
        wanted = hashlib.sha256(self.requirements.read_bytes()).hexdigest()
        if mark.exists() and mark.read_text("ascii") == wanted:
            return
        shutil.rmtree(FOLDER / self.name, ignore_errors=True)
        started = time.monotonic()
        tell(f"{self.name}: installing {self.requirements.name} on Python {self.python} ...")
        subprocess.run([find_python(self.python), "-m", "venv", FOLDER / self.name], check=True)
        pip = [self.interpreter, "-m", "pip", "--disable-pip-version-check"]
        # No dependency is looked for: the file names all, and what it does not name is not needed.
        install = ["install", "--quiet", "--no-deps", "--require-hashes", "-r", self.requirements]
        if subprocess.run([*pip, *install], check=False).returncode:
            sys.exit(f"{self.name}: its requirements cannot be installed; see what pip says above")
        mark.write_text(wanted, "ascii")
        tell(f"{self.name}: installed in {time.monotonic() - started:.0f} s")

    def test(self) -> bool:
        """Run its tests; return whether they passed."""
        tell(f"{self.name}: testing ...")
        tests = HERE / f"test_{self.name}.py"
        # The tests' own folder is as far up as conftest.py files are read: those above need packages of .venv.
        command = [self.interpreter, "-m", "pytest", "-q", f"--confcutdir={HERE}", "-p", "no:cacheprovider", tests]
        return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


ENVIRONMENTS = (Environment("torch", "3.11"), Environment("mlflow", "3.12"), Environment("keras", "3.13"))


def find_python(version: str) -> Path:
    """Return an interpreter of a minor version, on PATH or among pyenv's; end the program if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = shutil.which(f"python{version}")
    found = [Path(named)] if named else []
    found += sorted(pyenv.glob(f"{version}.*/bin/python{version}"), reverse=True)
    code = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    for python in found:
        answer = subprocess.run([python, "-c", code], check=False, capture_output=True, text=True)
        if answer.stdout.strip() == version:  # a shim of pyenv may be there and start nothing
            return python
    sys.exit(f"Python {version} is needed (with venv): install it, or put python{version} on PATH")


def tell(text: str) -> None:
    """Write a line at once, before what a subprocess writes."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(names: list[str]) -> None:
    """Make and test the environments of these names, or all; exit with 1 if a test failed."""
    if unknown := set(names) - {environment.name for environment in ENVIRONMENTS}:
        sys.exit(f"no environment {min(unknown)!r}: there are {', '.join(e.name for e in ENVIRONMENTS)}")
    chosen = [environment for environment in ENVIRONMENTS if not names or environment.name in names]
    for environment in chosen:
        find_python(environment.python)  # before minutes are spent on the others
    failed = []
    for environment in chosen:
        started = time.monotonic()
        environment.make()
        if not environment.test():
            failed.append(environment.name)
        tell(f"{environment.name}: {time.monotonic() - started:.0f} s in all")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
