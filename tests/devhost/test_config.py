"""host.json and local.settings.json are read as the host reads them."""

import json

import pytest

from devhost.bindings import fill, read_function
from devhost.config import read_host_settings, read_local_settings
from devhost.errors import StartupError
from devhost.messages import RpcFunctionMetadata


def test_without_files_the_defaults_hold(tmp_path):
    """A folder without host.json and local.settings.json gets the documented defaults."""
    settings = read_host_settings(tmp_path, {}, queue_lease=30, blob_scan=2)
    assert (settings.route_prefix, settings.queues.encoding, settings.queues.batch_size) == ("api", "base64", 16)
    assert (settings.queues.max_dequeue_count, settings.queues.max_polling_interval) == (5, 2)
    assert read_local_settings(tmp_path).port == 7071


def test_host_json_is_read(tmp_path):
    """Every setting this host acts on is taken from host.json, time spans in .NET's notation."""
    queues = {
        "batchSize": 2,
        "newBatchThreshold": 1,
        "maxPollingInterval": "00:01:00.5",
        "visibilityTimeout": "1.00:00:10",
        "maxDequeueCount": 9,
        "messageEncoding": "None",
    }
    document = {"version": "2.0", "extensions": {"http": {"routePrefix": ""}, "queues": queues}}
    (tmp_path / "host.json").write_text(json.dumps(document))
    settings = read_host_settings(
        tmp_path, {"AzureFunctionsWebHost__hostid": "My_Host"}, queue_lease=5, blob_scan=2
    )
    assert (settings.route_prefix, settings.host_id) == ("", "my-host")
    assert (settings.queues.max_polling_interval, settings.queues.visibility_timeout) == (60.5, 86410)
    assert (settings.queues.encoding, settings.queues.lease, settings.queues.new_batch_threshold) == ("none", 5, 1)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}x",
        '{"version": "1.0"}',
        '{"version": "2.0", "extensions": {"queues": {"batchSize": 33}}}',
        '{"version": "2.0", "extensions": {"queues": {"messageEncoding": "hex"}}}',
        '{"version": "2.0", "extensions": {"queues": {"visibilityTimeout": "10"}}}',
    ],
)
def test_a_wrong_host_json_is_refused(tmp_path, text):
    """What is wrong in host.json is an error that names the file."""
    (tmp_path / "host.json").write_text(text)
    with pytest.raises(StartupError, match=r"host\.json"):
        read_host_settings(tmp_path, {}, queue_lease=30, blob_scan=2)


def test_values_do_not_replace_the_environment(tmp_path):
    """Values of local.settings.json become environment variables unless these exist."""
    document = {"Values": {"A": "file", "B": 1}, "Host": {"LocalHttpPort": 8080}}
    (tmp_path / "local.settings.json").write_text(json.dumps(document))
    environment = {"A": "environment"}
    local = read_local_settings(tmp_path)
    local.apply(environment)
    assert (environment, local.port) == ({"A": "environment", "B": "1"}, 8080)


def metadata(**binding):
    raw = json.dumps({"name": "x", "direction": "IN", **binding})
    return RpcFunctionMetadata(name="f", function_id="1", raw_bindings=[raw], retry_options=None)


def test_settings_in_bindings_are_resolved():
    """%NAME% in a binding is the setting NAME; one that is missing is an error that names both."""
    queue = metadata(type="queueTrigger", queueName="%Q%-poison")
    assert read_function(queue, {"Q": "work"}).trigger.properties["queueName"] == "work-poison"
    with pytest.raises(StartupError, match="Function f: %Q% does not resolve"):
        read_function(queue, {})


def test_a_binding_that_is_not_known_is_refused():
    """A trigger or output this host does not have is an error at start-up, not silence."""
    with pytest.raises(StartupError, match="cosmosDBTrigger"):
        read_function(metadata(type="cosmosDBTrigger"), {})


def test_tokens_are_filled_whatever_their_case():
    """{token}s of an output come from the trigger; one that nobody provides fails the call by name."""
    assert fill("a/{Name}.{ext}", {"name": "b", "ext": "c"}, "f") == "a/b.c"
    assert fill("{rand-guid}", {}, "f") != fill("{rand-guid}", {}, "f")
    with pytest.raises(LookupError, match=r"\{missing\}"):
        fill("a/{missing}", {}, "f")


def test_variables_override_host_json(tmp_path):
    """AzureFunctionsJobHost__* variables win over host.json, as on the real host."""
    document = {"version": "2.0", "extensions": {"queues": {"batchSize": 2, "maxDequeueCount": 9}}}
    (tmp_path / "host.json").write_text(json.dumps(document))
    environment = {
        "AZUREFUNCTIONSJOBHOST__EXTENSIONS__QUEUES__BATCHSIZE": "3",
        "AzureFunctionsJobHost__extensions__http__routePrefix": "v1",
    }
    settings = read_host_settings(tmp_path, environment, queue_lease=5, blob_scan=2)
    assert (settings.queues.batch_size, settings.queues.max_dequeue_count) == (3, 9)
    assert settings.route_prefix == "v1"
