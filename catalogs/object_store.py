"""Object stores: what pyarrow and Delta are each told of the same place.

    s3://BUCKET/PATH[?endpoint_override=HOST:PORT&scheme=http&region=…]
    gs://BUCKET/PATH
    abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH[?endpoint_override=HOST:PORT&scheme=http]

Keys are never in the URI, since commits keep it: both read the environment (AWS_…, GOOGLE_…, AZURE_…), a profile or
the machine's role.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qsl, urlparse

from pyarrow import fs

from catalogs.errors import ConfigError

_AZURE = ("abfs", "abfss")


def filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """The pyarrow file system of a URI, and the path in it.

    Raises:
        ConfigError: The scheme is unknown, or the URI holds a password.
    """
    parsed = urlparse(uri)
    if parsed.password:
        raise ConfigError(
            "the root's URI holds a password",
            "Set AZURE_STORAGE_ACCOUNT_KEY instead."
            if parsed.scheme in _AZURE
            else "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead.",
        )
    try:
        if parsed.scheme in _AZURE:
            container, account = _azure(uri)
            return fs.AzureFileSystem(account, **_azure_options(uri)), f"{container}{parsed.path}"
        found, base = fs.FileSystem.from_uri(uri)
        return found, str(base)
    except (ValueError, OSError) as error:
        raise ConfigError(f"cannot open root {uri}: {error}") from None


def delta_options(uri: str) -> dict[str, str]:
    """What Delta must be told of the store beyond what it reads from the environment itself, by its own names."""
    parsed, said = urlparse(uri), dict(parse_qsl(urlparse(uri).query))
    endpoint = ""
    if "endpoint_override" in said:
        endpoint = f"{said.get('scheme', 'https')}://{said['endpoint_override'].rpartition('://')[2]}"
    if parsed.scheme in _AZURE:
        given = {
            "azure_storage_account_name": _azure(uri)[1],
            "azure_storage_endpoint": f"{endpoint}/{_azure(uri)[1]}" if endpoint else "",
            "azure_allow_http": "true" if endpoint.startswith("http://") else "",
        }
    else:
        endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL", "")
        given = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": said.get("region", ""),
            "AWS_ALLOW_HTTP": "true" if endpoint.startswith("http://") else "",
        }
    return {name: value for name, value in given.items() if value}


def _azure(uri: str) -> tuple[str, str]:
    """Container and account."""
    parsed = urlparse(uri)
    account = (parsed.hostname or "").partition(".")[0]
    if not parsed.username or not account:
        raise ConfigError(
            f"cannot open root {uri}", "Write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH."
        )
    return parsed.username, account


def _azure_options(uri: str) -> dict[str, Any]:
    said = dict(parse_qsl(urlparse(uri).query))
    options: dict[str, Any] = {
        "account_key": os.environ.get("AZURE_STORAGE_ACCOUNT_KEY"),
        "sas_token": os.environ.get("AZURE_STORAGE_SAS_TOKEN"),
    }
    for kind in ("blob", "dfs") if "endpoint_override" in said else ():
        options[f"{kind}_storage_authority"] = said["endpoint_override"].rpartition("://")[2]
        options[f"{kind}_storage_scheme"] = said.get("scheme", "https")
    return {name: value for name, value in options.items() if value}
