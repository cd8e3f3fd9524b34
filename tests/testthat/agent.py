"""An agent as far as a session knows it: a Unix socket that hands out numbered tokens.

Usage: agent.py SOCKET OWNER
Writes its process id to SOCKET.pid and ends with the process whose id is OWNER, or after three hours.
"""

import json
import os
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler

tokens = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.reply(404, {})

    def do_POST(self):
        global tokens
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("X-RS-Session-Server-RPC-Cookie") is not None:
            self.reply(200, {"error": "a cookie came through the socket"})
            return
        tokens += 1
        token = {"access_token": f"CANARY-{tokens}", "token_type": "Bearer", "expires_in": 3600}
        self.reply(200, {"result": True, "token": token})

    def reply(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "socket"

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def main():
    path, owner = sys.argv[1], int(sys.argv[2])
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
