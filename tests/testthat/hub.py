"""A hub as far as a session knows it: a Unix socket that says who asks, signs a person in and out, and hands out tokens.

Usage: hub.py SOCKET OWNER mapped|paired
Whoever is named in the file SOCKET.person has signed in on the page. Each request's path is a line of SOCKET.log.
Writes its process id to SOCKET.pid and ends with the process whose id is OWNER, or after three hours.
"""

import base64
import json
import os
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler

CODE = "ABCD2345"
PAGE = "https://hub.example"
path, binding = sys.argv[1], sys.argv[3]
state = {"account": None, "tries": 3, "attempts": 0, "tokens": 0}


def failure(kind, message):
    details = {"aadsts": []}
    return {"failure": {"kind": kind, "message": message, "details": details}}


def account(username):
    return {
        "username": username,
        "name": None,
        "tenant": "11111111-2222-3333-4444-555555555555",
        "object_id": f"oid-of-{username}",
        "client_id": "77777777-2222-3333-4444-555555555555",
        "authority": "https://login.microsoftonline.com",
        "method": "browser",
        "since": 1795392000,
    }


def person():
    """Who has signed in on the page."""
    try:
        with open(path + ".person") as file:
            return file.read().strip() or None
    except FileNotFoundError:
        return None


def sign_in():
    state["account"] = account(person())
    os.remove(path + ".person")
    return {"result": {"state": "signed_in", "account": state["account"]}}


def me(_):
    return {
        "result": {
            "user": "ada",
            "uid": os.getuid(),
            "machine": "node1",
            "page": PAGE,
            "account": state["account"],
            "binding": binding,
            "mark": "CANARY-mark",
        }
    }


def begin(_):
    state["attempts"] += 1
    state["tries"] = 3
    pairs = binding == "paired"
    address = f"{PAGE}/sign-in" + (f"?ticket={state['attempts']}" if pairs else "")
    begun = {"id": "CANARY-attempt", "address": address, "expires_at": time.time() + 300, "pairs": pairs}
    return {"result": begun}


def wait(parameters):
    until = time.time() + min(parameters["seconds"], 25)
    while person() is None and time.time() < until:
        time.sleep(0.01)
    if person() is None:
        return {"result": {"state": "waiting"}}
    if person() == "nobody@example.com":
        os.remove(path + ".person")
        return failure("access_denied", "this account is not ada's")
    return sign_in() if binding == "mapped" else {"result": {"state": "code_wanted", "tries_left": 3}}


def pair(parameters):
    if parameters["code"] == CODE:
        return sign_in()
    state["tries"] -= 1
    if state["tries"] == 0:
        return failure("access_denied", "that was the last try: begin anew")
    return {"result": {"state": "code_wanted", "tries_left": state["tries"]}}


def sign_out(_):
    before, state["account"] = state["account"], None
    return {"result": {"account": before, "holds_at": None}}


def open_session(_):
    cookie = "id|Mon%2C%2023%20Nov%202099%2000%3A00%3A00%20GMT|CANARY"
    return {"result": {"cookie": cookie, "address": "http://127.0.0.1:9", "expires_at": 4099161600}}


def token(_):
    if state["account"] is None:
        error = {"error": "login_required", "error_description": f"sign in at {PAGE}"}
        return {"result": False, "oauth2_error": error}
    state["tokens"] += 1
    claims = {"tid": state["account"]["tenant"], "oid": state["account"]["object_id"], "jti": state["tokens"]}
    claims = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    token = {"access_token": f"e30.{claims}.CANARY", "token_type": "Bearer", "expires_in": 3600}
    return {"result": True, "token": token}


ANSWERS = {
    "/hub/me": me,
    "/hub/begin": begin,
    "/hub/wait": wait,
    "/hub/pair": pair,
    "/hub/cancel": lambda _: {"result": None},
    "/hub/sign_out": sign_out,
    "/hub/open_session": open_session,
    "/delegated_azure_token": token,
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.reply(404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with open(path + ".log", "a") as file:
            file.write(self.path + "\n")
        if self.headers.get("X-RS-Session-Server-RPC-Cookie") is not None:
            self.reply(200, {"error": "a cookie came through the socket"})
        elif self.path in ANSWERS:
            self.reply(200, ANSWERS[self.path](json.loads(body)))
        else:
            self.reply(404, {})

    def reply(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except BrokenPipeError:
            pass

    def address_string(self):
        return "socket"

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def main():
    owner = int(sys.argv[2])
    server = Server(path, Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with open(path + ".new", "w") as file:
        file.write(f"{os.getpid()}\n")
    os.replace(path + ".new", path + ".pid")
    for _ in range(3 * 3600 * 10):
        time.sleep(0.1)
        try:
            os.kill(owner, 0)
        except OSError:
            return


main()
