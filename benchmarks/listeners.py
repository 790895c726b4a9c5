"""The clients of the case ``events``: half of them read Server-Sent Events, the others a WebSocket.

It is run as ``listeners PORT COUNT TOPIC``, prints a line when all are connected, and the number of events that they
have received when its standard input is closed. It imports no ``ipv8``.
"""

from __future__ import annotations

import asyncio
import sys

UPGRADE = ("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")
CHUNK = 1 << 16


async def main() -> None:
    """Connect, then count until the end."""
    port, count, topic = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    connections = [await connect(port, topic, number % 2 == 0) for number in range(count)]
    mark = f'"topic":"{topic}"'.encode()
    counts = [0] * count
    tasks = [asyncio.ensure_future(listen(reader, mark, counts, number))
             for number, (reader, _) in enumerate(connections)]
    print("connected", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(sum(counts), flush=True)
    for task in tasks:
        task.cancel()


async def connect(port: int, topic: str, by_websocket: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which events come; its headers have been read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    path, headers = ("/events/ws", UPGRADE) if by_websocket else ("/events", "")
    writer.write(f"GET {path}?topics={topic} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def listen(reader: asyncio.StreamReader, mark: bytes, counts: list[int], number: int) -> None:
    """Count the events of one connection."""
    rest = b""
    while data := await reader.read(CHUNK):
        data = rest + data
        counts[number] += data.count(mark)
        rest = data[max(0, data.rfind(mark) + 1, len(data) - len(mark) + 1):]


if __name__ == "__main__":
    asyncio.run(main())
