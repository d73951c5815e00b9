"""The HTTP API over the real services, folder storage and the hand-built model."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from scoring.services import Services
from web.app import create_app


@pytest.fixture
def client(services: Services) -> Iterator[TestClient]:
    with TestClient(create_app(lambda: services, services.settings), raise_server_exceptions=False) as made:
        yield made
