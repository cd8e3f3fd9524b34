"""Servers and proxies that are odd on purpose: TLS servers of many makes, and proxies of several kinds.

Usage: peers.py READY_FILE OWNER DIRECTORY

DIRECTORY has certificates and keys NAME.pem and NAME.key, and the authority ca.pem. Writes the port of each peer to
READY_FILE as a JSON object, beside `pid`. Ends with the process whose id is OWNER, or after ten minutes.

A TLS server answers each request with a token. A proxy that lets somebody through leads to 127.0.0.1 whatever the name,
and `GET /names` at the port `log` lists, as JSON, the names that the SOCKS proxies were given.
"""

import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
import warnings

# TLS 1.1 is meant here.
warnings.simplefilter("ignore", DeprecationWarning)

TOKEN = json.dumps({"token": {"access_token": "CANARY", "token_type": "Bearer", "expires_in": 3599}})
names = []


def read_head(stream):
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = stream.recv(65536)
        if not chunk:
            return b""
        data += chunk
    return data


def respond(stream, body, status="200 OK", more=""):
    head = f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    stream.sendall((head + body).encode())


def tls_server(name, adapt):
    def serve(stream, directory):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(f"{directory}/{name}.pem", f"{directory}/{name}.key")
        adapt(context, directory)
        stream = context.wrap_socket(stream, server_side=True)
        if read_head(stream):
            respond(stream, TOKEN)
        stream.close()

    return serve


def as_it_is(context, directory):
    pass


def only_tls12(context, directory):
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def only_tls11(context, directory):
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1


def no_forward_secrecy(context, directory):
    only_tls12(context, directory)
    context.set_ciphers("AES128-GCM-SHA256:@SECLEVEL=0")


def asks(context, directory):
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(f"{directory}/ca.pem")


def asks_over_tls12(context, directory):
    only_tls12(context, directory)
    asks(context, directory)


def refusing_proxy(status):
    def serve(stream, directory):
        if read_head(stream):
            respond(stream, "<html>", status, "Content-Type: text/html\r\n")

    return serve


def exactly(stream, count):
    data = b""
    while len(data) < count:
        chunk = stream.recv(count - len(data))
        if not chunk:
            raise OSError("the client went away")
        data += chunk
    return data


def socks_proxy(stream, directory):
    """RFC 1928, with the user name and password of RFC 1929."""
    methods = exactly(stream, exactly(stream, 2)[1])
    if 2 in methods:
        stream.sendall(b"\x05\x02")
        user = exactly(stream, exactly(stream, 2)[1])
        password = exactly(stream, exactly(stream, 1)[0])
        good = (user, password) == (b"user", b"CANARY@/#")
        stream.sendall(b"\x01\x00" if good else b"\x01\x01")
        if not good:
            return
    else:
        stream.sendall(b"\x05\x00")
    _, _, _, kind = exactly(stream, 4)
    if kind == 3:
        name = exactly(stream, exactly(stream, 1)[0]).decode()
    else:
        family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
        name = socket.inet_ntop(family, exactly(stream, size))
    (port,) = struct.unpack("!H", exactly(stream, 2))
    names.append(name)
    target = socket.create_connection(("127.0.0.1", port))
    stream.sendall(b"\x05\x00\x00\x01" + bytes(6))
    threading.Thread(target=copy, args=(target, stream), daemon=True).start()
    copy(stream, target)


def copy(source, target):
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def log(stream, directory):
    if read_head(stream):
        respond(stream, json.dumps(names))


PEERS = {
    "log": log,
    "self_signed": tls_server("self_signed", as_it_is),
    "self_signed_tls12": tls_server("self_signed", only_tls12),
    "self_signed_other_host": tls_server("self_signed_other_host", as_it_is),
    "self_signed_expired": tls_server("self_signed_expired", as_it_is),
    "version_1": tls_server("version_1", as_it_is),
    "version_1_tls12": tls_server("version_1", only_tls12),
    "version_1_other_host": tls_server("version_1_other_host", as_it_is),
    "no_names": tls_server("no_names", as_it_is),
    "for_clients": tls_server("for_clients", as_it_is),
    "leaf": tls_server("leaf", as_it_is),
    "signed_by_leaf": tls_server("signed_by_leaf", as_it_is),
    "self_signed_for_clients": tls_server("self_signed_for_clients", as_it_is),
    "old_tls": tls_server("server", only_tls11),
    "no_forward_secrecy": tls_server("server", no_forward_secrecy),
    "asks": tls_server("server", asks),
    "asks_over_tls12": tls_server("server", asks_over_tls12),
    "server": tls_server("server", as_it_is),
    "proxy_407": refusing_proxy("407 Proxy Authentication Required"),
    "proxy_403": refusing_proxy("403 Forbidden"),
    "proxy_page": refusing_proxy("200 OK"),
    "socks": socks_proxy,
}


def listen(serve, directory):
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def one(stream):
        try:
            serve(stream, directory)
        except OSError:
            pass  # the client went away, which most of these tests want
        finally:
            stream.close()

    def accept():
        while True:
            stream, _ = listener.accept()
            threading.Thread(target=one, args=(stream,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def main():
    ready, owner, directory = sys.argv[1:]
    ports = {name: listen(serve, directory) for name, serve in PEERS.items()}
    with open(ready + ".new", "w") as file:
        json.dump({"pid": os.getpid(), **ports}, file)
    os.replace(ready + ".new", ready)
    for _ in range(6000):
        time.sleep(0.1)
        try:
            os.kill(int(owner), 0)
        except OSError:
            return


main()
