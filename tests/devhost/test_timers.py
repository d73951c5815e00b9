"""Timer triggers."""

import httpx2 as httpx

from tests.devhost.conftest import wait_until


def test_a_timer_fires_on_schedule(shared):
    """A timer of every second fires once for each, on the second, and knows when it is due next."""
    _, storage = shared
    told = wait_until(lambda: len(storage.told("tick")) >= 3 and storage.told("tick"), "three ticks")
    times = [each["status"]["Last"] for each in told]
    assert times == sorted(set(times))
    assert all(time.endswith(f"{time[17:19]}+00:00") for time in times)
    assert told[0]["status"]["Next"] > told[0]["status"]["Last"]
    assert not told[0]["past_due"]


def test_a_timer_can_be_fired_by_hand(storage, start):
    """POST admin/functions/<name> fires a timer that is not due, and answers 202."""
    devhost = start().ready()
    response = httpx.post(f"{devhost.url}/admin/functions/tick", json={}, timeout=20)
    assert response.status_code == 202
    wait_until(lambda: storage.told("tick"), "tick")
