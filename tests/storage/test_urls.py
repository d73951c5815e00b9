"""Blobs' URLs and the paths they mean."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import NameInvalidError
from settings import Connection
from storage import BlobPath
from storage.urls import path_of

KEY = "AccountName=acme;AccountKey=a2V5;EndpointSuffix=core.windows.net"
ACME = Connection("x", f"DefaultEndpointsProtocol=https;{KEY}")
AZURITE = Connection("x", "UseDevelopmentStorage=true")
BLOB = BlobPath("incoming", "churn/a.csv")


@pytest.mark.parametrize(
    ("connection", "url"),
    [
        (ACME, "https://acme.blob.core.windows.net/incoming/churn/a.csv"),
        (ACME, "HTTPS://ACME.blob.core.windows.net/incoming/churn/a.csv"),
        (ACME, "https://acme.dfs.core.windows.net/incoming/churn/a.csv"),
        (
            Connection("x", f"BlobEndpoint=https://data.acme.example/;{KEY}"),
            "https://acme.blob.core.windows.net/incoming/churn/a.csv",
        ),
        (
            Connection("x", f"BlobEndpoint=https://data.acme.example/;{KEY}"),
            "https://data.acme.example/incoming/churn/a.csv",
        ),
        (
            Connection("x", "AccountName=acme;AccountKey=a2V5;EndpointSuffix=core.chinacloudapi.cn"),
            "https://acme.blob.core.chinacloudapi.cn/incoming/churn/a.csv",
        ),
        (
            Connection("x", account_name="acme"),
            "https://acme.blob.core.windows.net/incoming/churn/a.csv",
        ),
        (
            Connection("x", blob_service_uri="https://acme.z1.blob.storage.azure.net"),
            "https://acme.z1.blob.storage.azure.net/incoming/churn/a.csv",
        ),
        (AZURITE, "http://127.0.0.1:10000/devstoreaccount1/incoming/churn/a.csv"),
        (AZURITE, "http://localhost:10000/devstoreaccount1/incoming/churn/a.csv"),
        (
            Connection("x", "AccountName=dev;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:4321/dev;"),
            "http://127.0.0.1:4321/dev/incoming/churn/a.csv",
        ),
    ],
)
def test_every_address_of_the_account_is_known(connection: Connection, url: str) -> None:
    """Blob and Data Lake hosts, domains of one's own, sovereign clouds and Azurite: the same blob."""
    assert path_of(url, connection) == BLOB


@pytest.mark.parametrize(
    ("connection", "url"),
    [
        (ACME, "https://other.blob.core.windows.net/incoming/churn/a.csv"),
        (ACME, "https://acme.blob.core.windows.net.evil.example/incoming/churn/a.csv"),
        (ACME, "https://acme.blob.core.windows.net@evil.example/incoming/churn/a.csv"),
        (ACME, "https://acme.queue.core.windows.net/incoming/churn/a.csv"),
        (AZURITE, "http://127.0.0.1:10000/otheraccount/incoming/churn/a.csv"),
        (AZURITE, "http://127.0.0.1:10001/devstoreaccount1/incoming/churn/a.csv"),
        (Connection("x"), "https://acme.blob.core.windows.net/incoming/churn/a.csv"),
        (ACME, "https://acme.blob.core.windows.net/incoming"),
        (ACME, "https://acme.blob.core.windows.net/"),
        (ACME, "https:///incoming/churn/a.csv"),
        (ACME, "ftp://acme.blob.core.windows.net/incoming/a.csv"),
        (ACME, "https://acme.blob.core.windows.net/incoming/churn/100%.csv"),
        (ACME, "https://acme.blob.core.windows.net/incoming/churn/%ff.csv"),
    ],
)
def test_what_is_no_blob_of_the_account_is_refused(connection: Connection, url: str) -> None:
    """Other accounts, other services, other hosts that look alike, and encodings that mean nothing."""
    with pytest.raises(NameInvalidError):
        path_of(url, connection)


@pytest.mark.parametrize(
    ("encoded", "name"),
    [
        ("a%20b.csv", "a b.csv"),
        ("a+b.csv", "a+b.csv"),
        ("a%2Bb.csv", "a+b.csv"),
        ("a%2520b.csv", "a%20b.csv"),
        ("a%252Fb.csv", "a%2Fb.csv"),
        ("a%2Fb.csv", "a/b.csv"),
        ("caf%C3%A9.csv", "café.csv"),
        ("café.csv", "café.csv"),
        ("a%3Fb%23c.csv", "a?b#c.csv"),
        ("a?b#c.csv", "a?b#c.csv"),
    ],
)
def test_paths_are_decoded_exactly_once(encoded: str, name: str) -> None:
    """What is encoded twice stays encoded once, and a plus sign is a plus sign."""
    assert path_of(f"https://acme.blob.core.windows.net/incoming/churn/{encoded}", ACME).name == f"churn/{name}"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_decoding_undoes_encoding(name: str) -> None:
    """Whatever a blob is called, its URL means it again."""
    url = f"https://acme.blob.core.windows.net/incoming/{quote(name, safe='~/')}"
    assert path_of(url, ACME).name == name


def test_errors_say_the_host_and_no_more() -> None:
    """A URL may hold a signature: the error never quotes its path or query."""
    with pytest.raises(NameInvalidError) as caught:
        path_of("https://other.blob.core.windows.net/incoming/churn/a.csv?sig=secret", ACME)
    assert "other.blob" in caught.value.message
    assert "secret" not in caught.value.message
