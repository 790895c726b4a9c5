"""Fetches a page through a proxy by each client library: ``python -m interop.nodes.socks_clients PROXY_PORT URL``.

It prints one JSON object: the page by the name of the client. The clients give different names and passwords.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import urllib.parse
from importlib import import_module
from typing import Any


def by_pysocks(port: int, url: str) -> str:
    """PySocks."""
    socks: Any = import_module("socks")
    parts: Any = urllib.parse.urlsplit(url)
    with socks.socksocket(socket.AF_INET) as connection:
        connection.set_proxy(socks.SOCKS5, "127.0.0.1", port, rdns=True)
        connection.settimeout(30)
        connection.connect((parts.hostname, parts.port))
        connection.sendall(f"GET {parts.path} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    return answer.partition(b"\r\n\r\n")[2].decode()


def by_requests(port: int, url: str) -> str:
    """Requests, which uses PySocks."""
    proxy = f"socks5h://me:requests@127.0.0.1:{port}"
    return str(import_module("requests").get(url, proxies={"http": proxy}, timeout=30).text)


def by_httpx(port: int, url: str) -> str:
    """Httpx, which uses socksio."""
    with import_module("httpx").Client(proxy=f"socks5://me:httpx@127.0.0.1:{port}", timeout=30) as client:
        return str(client.get(url).text)


def by_python_socks(port: int, url: str) -> str:
    """python-socks."""
    parts: Any = urllib.parse.urlsplit(url)
    proxy = import_module("python_socks.sync").Proxy.from_url(f"socks5://me:python@127.0.0.1:{port}", rdns=True)
    with proxy.connect(parts.hostname, parts.port, timeout=30) as connection:
        connection.sendall(f"GET {parts.path} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    return answer.partition(b"\r\n\r\n")[2].decode()


def by_aiohttp_socks(port: int, url: str) -> str:
    """aiohttp-socks."""
    async def fetch() -> str:
        connector = import_module("aiohttp_socks").ProxyConnector.from_url(
            f"socks5://me:aiohttp@127.0.0.1:{port}", rdns=True)
        async with import_module("aiohttp").ClientSession(connector=connector) as session, session.get(url) as response:
            return str(await response.text())

    return asyncio.run(fetch())


def main(port: int, url: str) -> None:
    """Fetch the page by each client."""
    clients: list[Any] = [by_pysocks, by_requests, by_httpx, by_python_socks, by_aiohttp_socks]
    print(json.dumps({client.__name__: client(port, url) for client in clients}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
