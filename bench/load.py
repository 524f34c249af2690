"""Bounded load: so many requests over so many connections to a loopback address."""

import socket
import threading
import time
from collections import Counter


def request(path, body, authorization):
    """One POST as bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json;charset=UTF-8\r\n"
        f"Authorization: {authorization}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def send(port, message, count, connections):
    """Send a message `count` times; gives the seconds it took and how often each status came."""
    statuses = Counter()
    threads = [
        threading.Thread(target=_client, args=(port, message, count // connections, statuses))
        for _ in range(connections)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started, statuses


def _client(port, message, count, statuses):
    mine = Counter()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            connection.sendall(message)
            mine[_status(connection)] += 1
    statuses.update(mine)


def _status(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += _more(connection)
    return int(head[9:12])


def _more(connection):
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("The server closed the connection.")
    return data
