"""A server whose behaviour stands in the address, for faults that no web framework can make.

The first segment of a request's path is a script: base64url of a JSON list of replies. The n-th
request with that path gets the n-th reply, further ones the last. A reply is a list of steps:

    ["send", TEXT]          write TEXT; code points are bytes (Latin-1)
    ["repeat", TEXT, N]     write TEXT N times
    ["drip", TEXT, SECONDS] write TEXT byte by byte, SECONDS apart
    ["wait", SECONDS]       do nothing
    ["interrupt", FILE]     send OWNER a SIGINT, after the time has been written to FILE
    ["rename", FROM, TO]    put one file in another's place
    ["close"]               close the connection
    ["reset"]               break it with a TCP reset

In a TEXT that is sent, `Date: +SECONDS` becomes the date so many seconds from now. After the last step the
connection is kept alive. `GET /log` lists the requests so far as JSON, each with the `time` when it came.

Usage: wire.py READY_FILE OWNER [CERTIFICATE KEY]...   (one more port, with TLS, for each pair)
Writes its process id, its ports and its port on ::1 (0 without IPv6) to READY_FILE.
Ends with the process whose id is OWNER, or after three hours.
"""

import base64
import json
import os
import re
import signal
import socket
import ssl
import struct
import sys
import threading
import time
from email.utils import formatdate

requests = []
counts = {}
lock = threading.Lock()


def read_request(connection):
    """One request as a dictionary, or None at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        data += chunk
        if data.startswith(b"\x16"):
            # A TLS greeting on a port without TLS: what real servers answer.
            return {"method": "", "path": "", "headers": {}, "body": ""}
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    method, path, _ = line.split(" ", 2)
    headers = {}
    for field in fields:
        name, _, value = field.partition(":")
        headers[name.strip().lower()] = value.strip()
    missing = int(headers.get("content-length", 0)) - len(body)
    while missing > 0:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        body += chunk
        missing -= len(chunk)
    return {"method": method, "path": path, "headers": headers, "body": body.decode("latin-1")}


def script_of(path):
    """The replies that a path asks for; None if it is no script. A proxy is asked for a whole URL."""
    segment = re.sub("^[a-z]+://[^/]+", "", path).strip("/").split("/")[0]
    try:
        return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except ValueError:
        return None


def next_reply(request):
    with lock:
        requests.append({**request, "time": time.time()})
        path = request["path"]
        count = counts.get(path, 0)
        counts[path] = count + 1
    replies = script_of(path)
    if not replies:
        return [["send", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"], ["close"]]
    return replies[min(count, len(replies) - 1)]


def send_log(connection):
    with lock:
        body = json.dumps(requests).encode()
    head = "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.sendall(head.encode() + body)


def with_date(text):
    return re.sub(
        r"Date: ([-+]\d+)", lambda found: "Date: " + formatdate(time.time() + int(found[1]), usegmt=True), text
    )


def perform(connection, step):
    """Takes one step; False when it ended the connection."""
    action, *arguments = step
    if action == "send":
        connection.sendall(with_date(arguments[0]).encode("latin-1"))
    elif action == "repeat":
        connection.sendall(arguments[0].encode("latin-1") * int(arguments[1]))
    elif action == "drip":
        for byte in arguments[0].encode("latin-1"):
            connection.sendall(bytes([byte]))
            time.sleep(arguments[1])
    elif action == "wait":
        time.sleep(arguments[0])
    elif action == "interrupt":
        with open(arguments[0], "w") as file:
            file.write(str(time.time()))
        os.kill(owner, signal.SIGINT)
    elif action == "rename":
        os.replace(*arguments)
    elif action == "reset":
        # A zero linger makes the close a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False
    elif action == "close":
        return False
    else:
        raise ValueError(action)
    return True


def serve(connection, context):
    try:
        if context:
            connection = context.wrap_socket(connection, server_side=True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            request = read_request(connection)
            if request is None:
                return
            if request["path"] == "/log":
                send_log(connection)
            elif not all(perform(connection, step) for step in next_reply(request)):
                return
    except OSError:
        pass  # the client went away, which some tests want
    finally:
        connection.close()


def listen(family, host, context=None):
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind((host, 0))
    listener.listen(128)

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, context), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def main():
    global owner
    ready, owner, *pairs = sys.argv[1:]
    owner = int(owner)
    ports = [listen(socket.AF_INET, "127.0.0.1")]
    try:
        six = listen(socket.AF_INET6, "::1")
    except OSError:
        six = 0
    for certificate, key in zip(pairs[::2], pairs[1::2]):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        ports.append(listen(socket.AF_INET, "127.0.0.1", context))
    with open(ready + ".new", "w") as file:
        json.dump({"pid": os.getpid(), "ports": ports, "six": six}, file)
    os.replace(ready + ".new", ready)
    for _ in range(3 * 3600 * 10):
        time.sleep(0.1)
        try:
            os.kill(owner, 0)
        except OSError:
            return


main()
