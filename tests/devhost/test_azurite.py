"""Azurite is started, found and stopped."""

import socket

import pytest

from devhost.azurite import Azurite, azurite_running, endpoints, free_ports
from devhost.errors import StartupError
from tests.devhost.conftest import Storage


def test_endpoints_of_emulators_only():
    """A connection string leads to Azurite's ports, and a real account's to none."""
    assert endpoints("UseDevelopmentStorage=true") == {"blob": ("127.0.0.1", 10000), "queue": ("127.0.0.1", 10001)}
    assert endpoints(Azurite(5, 6).connection_string) == {"blob": ("127.0.0.1", 5), "queue": ("127.0.0.1", 6)}
    assert endpoints("DefaultEndpointsProtocol=https;AccountName=x;AccountKey=y==;EndpointSuffix=z") == {}


def test_data_in_a_folder_outlives_the_process(tmp_path):
    """What was written is there after a stop and a start; once stopped, nothing answers."""
    ports = free_ports(3)
    with Azurite(*ports, data=tmp_path) as first:
        assert azurite_running(first.connection_string)
        storage = Storage(first.connection_string, "x")
        storage.put("drops", "a", b"kept")
        storage.close()
    assert not azurite_running(first.connection_string)
    with Azurite(*ports, data=tmp_path) as second, Storage(second.connection_string, "y").blobs as blobs:
        assert blobs.get_blob_client("drops-x", "a").download_blob().readall() == b"kept"


def test_a_port_in_use_is_an_error(tmp_path):
    """Azurite that cannot start says why, in its own words."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match="ended with code 1"):
            Azurite(port, *free_ports(2), data=tmp_path).start()
