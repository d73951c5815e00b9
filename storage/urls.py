"""Blobs' URLs, as events and people write them, and the paths they mean in our own storage account."""

import re
from urllib.parse import unquote, urlsplit

from errors import NameInvalidError
from settings import Connection
from storage.blobs import BlobPath

_URL = re.compile(r"(?P<scheme>https?)://(?P<host>[^/?#\s]+)/(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_NO_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}
_AZURITE = "http://127.0.0.1:10000/devstoreaccount1"


def is_url(text: str) -> bool:
    """Say whether a text is meant as a URL."""
    return "://" in text


def path_of(url: str, connection: Connection) -> BlobPath:
    """Return the blob that `url` means, decoded once; NameInvalidError if it is none of the connection's account.

    All behind the account is the blob's path, also a "?" or "#": events have neither query nor fragment.
    `https://<account>.dfs.…`, as Data Lake's events say, means the same as `.blob.`.
    """
    found = _URL.fullmatch(url)
    if not found:
        raise NameInvalidError(
            "the URL is no blob's: write https://<account>.blob.core.windows.net/<container>/<name>"
        )
    for host, prefix in _accounts(connection):
        if found["host"].lower() in _spellings(host) and found["rest"].startswith(prefix):
            return BlobPath.parse(decode(found["rest"].removeprefix(prefix)))
    raise NameInvalidError(
        f"the URL is of {ascii(found['host'])[:100]}, which is not the storage account of this app: "
        "send its messages to the app of that account"
    )


def decode(text: str) -> str:
    """Return `text` with its percent-encoding decoded, once; NameInvalidError for a "%" that encodes nothing."""
    if _NO_ESCAPE.search(text):
        raise NameInvalidError(
            'in the URL a "%" has no two hexadecimal digits behind it: write %25 for the sign itself'
        )
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise NameInvalidError("the URL encodes bytes that are no UTF-8") from None


def _accounts(connection: Connection) -> list[tuple[str, str]]:
    """Return host and path prefix of every address by which the account's blobs go."""
    given = dict(part.partition("=")[::2] for part in connection.connection_string.split(";"))
    parts = {key.strip().lower(): value.strip() for key, value in given.items()}
    name = parts.get("accountname") or connection.account_name
    endpoints = [parts.get("blobendpoint", ""), connection.blob_service_uri]
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        endpoints.append(_AZURITE)
    elif name:  # also where blobs have a domain of their own: events go by the account's name
        endpoints.append(f"https://{name}.blob.{parts.get('endpointsuffix') or 'core.windows.net'}")
    split = [urlsplit(endpoint) for endpoint in endpoints if endpoint]
    return [(each.netloc.lower(), f"{each.path.strip('/')}/".lstrip("/")) for each in split]


def _spellings(host: str) -> set[str]:
    """Return the host and others that stand for it: `.dfs.` for `.blob.`, this machine's names for each other."""
    name, colon, port = host.rpartition(":") if re.search(r":\d+$", host) else (host, "", "")
    if name in _LOOPBACK:
        return {f"{each}{colon}{port}" for each in _LOOPBACK}
    return {host, host.replace(".blob.", ".dfs.", 1)}
