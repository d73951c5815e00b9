"""Queue triggers: at least once, and poison."""

import signal

import httpx2 as httpx

from tests.devhost.conftest import PATIENCE, wait_until


def test_a_message_becomes_a_call_and_its_outputs(shared):
    """The message's facts reach the function; queue and blob outputs are written; the message is gone."""
    _, storage = shared
    storage.work.send_message("answer é")
    wait_until(lambda: [each for each in storage.told("done") if each["body"] == "answer é"], "call")
    wait_until(lambda: storage.messages(f"answers-{storage.name}") == ["ANSWER É"], "queue output")
    told = next(each for each in storage.told("begun") if each["body"] == "answer é")
    assert told["dequeue_count"] == 1
    assert -2 < told["inserted"] < PATIENCE
    assert told["expires"]
    container = storage.blobs.get_container_client(f"told-{storage.name}")
    (copy,) = wait_until(
        lambda: [n for n in container.list_blob_names(name_starts_with="copies/") if "of-" not in n], "blob output"
    )
    assert container.download_blob(copy).readall() == "answer é".encode()
    wait_until(lambda: not storage.messages(storage.work.queue_name), "empty queue")


def test_a_message_that_fails_is_poison_after_the_last_try(shared):
    """It is tried maxDequeueCount times, then moved to <queue>-poison, whose own function gets it."""
    _, storage = shared
    storage.work.send_message("fail 1")
    wait_until(lambda: {"body": "fail 1"} in storage.told("poison"), "poison message")
    tries = [each["dequeue_count"] for each in storage.told("begun") if each["body"] == "fail 1"]
    assert tries == [1, 2, 3]


def test_a_call_longer_than_the_lease_runs_once(shared):
    """The lease of a message in work is renewed."""
    _, storage = shared
    storage.work.send_message("sleep 3")
    wait_until(lambda: [each for each in storage.told("done") if each["body"] == "sleep 3"], "end of a long call")
    assert len([each for each in storage.told("begun") if each["body"] == "sleep 3"]) == 1


def test_a_queue_may_appear_later(storage, start):
    """A trigger's queue that is not there is no error, and is not made; it is polled until it appears."""
    queue = storage.queues.get_queue_client(f"later-{storage.name}")
    start(WORK_QUEUE=queue.queue_name).ready()
    assert storage.messages(queue.queue_name) == []
    assert queue.queue_name not in [each.name for each in storage.queues.list_queues()]
    queue.create_queue()
    queue.send_message("here")
    wait_until(lambda: storage.told("done"), "call for a message on a queue made later")


def test_a_killed_host_loses_no_message(storage, start):
    """A message in work when the host is killed comes back when its lease ends, and is then done."""
    first = start().ready()
    storage.work.send_message("sleep 2")
    wait_until(lambda: storage.told("begun"), "call")
    first.end(signal.SIGKILL)
    assert storage.told("done") == []
    start().ready()
    (done,) = wait_until(lambda: storage.told("done"), "second try")
    assert done["dequeue_count"] == 2


def test_a_base64_message_that_is_none_is_poison_at_once(storage, start, tmp_path):
    """With messageEncoding base64, an undecodable message goes to poison as it is, and others are decoded."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "function_app.py").write_text(
        "import azure.functions as func\n"
        "app = func.FunctionApp()\n"
        "@app.queue_trigger(arg_name='m', queue_name='%WORK_QUEUE%', connection='')\n"
        "@app.queue_output(arg_name='$return', queue_name='%ANSWERS%', connection='')\n"
        "def f(m: func.QueueMessage) -> str:\n"
        "    return m.get_body().decode() + '!'\n"
        "@app.route('x')\n"
        "def x(req: func.HttpRequest) -> str:\n"
        "    return ''\n"
    )
    start(app=app).ready()
    storage.work.send_message("plain text")
    storage.work.send_message("aGVsbG8=")
    wait_until(lambda: storage.messages(f"{storage.work.queue_name}-poison") == ["plain text"], "poison message")
    wait_until(lambda: storage.messages(f"answers-{storage.name}") == ["aGVsbG8h"], "base64 output")


def test_a_function_can_be_called_by_hand(shared):
    """POST admin/functions/<name> calls a queue function with the input as its message, and answers 202."""
    devhost, storage = shared
    response = httpx.post(f"{devhost.url}/admin/functions/work", json={"input": "by hand"}, timeout=20)
    assert response.status_code == 202
    wait_until(lambda: [each for each in storage.told("done") if each["body"] == "by hand"], "call")
