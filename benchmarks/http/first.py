"""The first prediction of a fresh process: from its start to its first answer, imports and the model included."""

import json
import shutil
import socket
import subprocess
import sys
import time

from benchmarks.engine.models import BENCH_PYTHON
from benchmarks.http.rows import WORK, rows
from benchmarks.http.servers import LOG, Numbers, end, log_end, peak, post
from benchmarks.http.systems import FASTAPI, KEY, OURS, PEERS, SYSTEMS, fastapi_settings, ours_settings
from benchmarks.processes import ROOT, environment

CACHED = "dropscore-cached"
"""Ours on a machine that has served the model before: its package is in the cache on the disk."""

FIRST = {
    OURS: "Dropscore, nothing cached",
    CACHED: "Dropscore, package on the disk",
    FASTAPI[0]: "FastAPI + pandas + scikit-learn",
}
"""What is measured, and its name in tables."""


def measure(name: str, model: str) -> Numbers:
    """Start a server by uvicorn and ask it at once; return the `seconds` until its answer, and its `peak`."""
    system = SYSTEMS[FASTAPI[0] if name == FASTAPI[0] else OURS]
    cache = WORK / "first-cache"
    if name == OURS:
        shutil.rmtree(cache, ignore_errors=True)
    ours = name != FASTAPI[0]
    python, app = (sys.executable, "web.app:app") if ours else (BENCH_PYTHON, "fastapi_pandas:app")
    settings = ours_settings(model, cache) if ours else fastapi_settings(model)
    path = str(ROOT) if ours else str(PEERS)
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listening, LOG.open("wb") as log:
        number = listening.fileno()
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(python), str(PEERS / "first_answer.py"), app, str(number)],
            pass_fds=[number],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=WORK,
            env=environment() | settings | {"PYTHONPATH": path},
            start_new_session=True,
        )
        try:
            port = listening.getsockname()[1]
            headers = {"x-functions-key": KEY} if ours else {}
            status, content = post(port, system.path.format(model=model), system.body(rows()[0]), headers)
            seconds = time.perf_counter() - started
            if status != 200:
                raise SystemExit(f"{FIRST[name]} answers {status}: {content[:500]!r}\n{log_end()}")
            system.read(json.loads(content))
            return {"seconds": seconds, "peak": peak(process.pid)}
        finally:
            end(process)
