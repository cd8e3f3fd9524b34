"""An emulated Azure DevOps on loopback: https with a throwaway authority, `git http-backend`, Git LFS, and a
proxy that leads its real host names here.

Every request must carry a token of the emulated tenant: validly signed, for Azure DevOps, not expired, not
revoked. Requests without one get Azure's challenge.
"""

import base64
import json
import os
import re
import select
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

RESOURCE = "499b84ac-1321-427f-aa17-267ca6975798"
HOSTS = re.compile(r"^(dev\.azure\.com|[a-z0-9-]+\.visualstudio\.com)$")


class Tenant:
    """The emulated tenant, as a resource knows it: by its public key and its issuer."""

    def __init__(self, url):
        def read(path):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"{url}/common/{path}", timeout=60) as reply:
                return json.load(reply)

        keys = read("discovery/v2.0/keys")["keys"]
        self.id = keys[0]["issuer"].split("/")[-2]
        self.keys = {key["kid"]: jwt.PyJWK(key) for key in keys}

    def claims(self, token):
        """A token's claims; its expiry is for the resource to judge, by its own clock."""
        key = self.keys[jwt.get_unverified_header(token)["kid"]]
        return jwt.decode(
            token,
            key.key,
            algorithms=["RS256"],
            audience=RESOURCE,
            issuer=f"https://sts.windows.net/{self.id}/",
            options={"require": ["exp", "iat", "nbf"], "verify_exp": False},
            leeway=5,
        )


def make_certificates(directory, names="DNS:dev.azure.com,DNS:*.visualstudio.com"):
    """A throwaway authority and a certificate of these hosts, by default the emulated ones: the paths of both, and of the key."""
    at = lambda name: os.path.join(directory, name)  # noqa: E731

    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", at("ca.key"), "-out", at("ca.pem"), "-days", "2", "-subj", "/CN=throwaway")
    with open(at("extensions"), "w", encoding="ascii") as file:
        file.write(f"subjectAltName={names}")
    openssl("req", "-new", *key, "-keyout", at("server.key"), "-out", at("server.csr"), "-subj", "/CN=server")
    openssl(
        *["x509", "-req", "-in", at("server.csr"), "-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial"],
        *["-days", "2", "-extfile", at("extensions"), "-out", at("server.pem")],
    )
    return at("ca.pem"), at("server.pem"), at("server.key")


class AzureDevOps:
    """The server and the proxy. Repositories lie in `directory`/repositories/ORGANISATION/PROJECT/NAME."""

    def __init__(self, directory, tenant):
        self.tenant = tenant
        self.repositories = os.path.join(directory, "repositories")
        self.objects = os.path.join(directory, "objects")
        os.makedirs(self.objects)
        self.ca, certificate, key = make_certificates(directory)
        git = shutil.which("git")
        exec_path = subprocess.run([git, "--exec-path"], check=True, capture_output=True, text=True).stdout.strip()
        self.backend = os.path.join(exec_path, "git-http-backend")
        self.seen = set()
        self.tokens = set()
        self.lock = threading.Lock()
        self.reset()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server = Server(("127.0.0.1", 0), Handler, context)
        self.server.azure = self
        self.proxy = Proxy(self.server.server_address)
        self.threads = [
            threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True),
            threading.Thread(target=self.proxy.serve, daemon=True),
        ]
        for thread in self.threads:
            thread.start()

    def reset(self):
        """As Azure is on a good day; `seen` stays, since a token is a secret for as long as it lives."""
        self.log = []
        # How far this server's clock is ahead, in seconds, for so many requests with a token.
        self.ahead, self.ahead_for = 0, 0
        # So many of the tokens that come next are revoked as they are presented.
        self.revoke = 0
        self.revoked = set()
        # Another organisation's tenant.
        self.other_tenant = None
        # Whether Git LFS is refused, whatever the token.
        self.refuses_lfs = False

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.proxy.stop()
        for thread in self.threads:
            thread.join(5)

    def challenge(self):
        tenant = self.other_tenant or self.tenant.id
        return [
            f"Bearer authorization_uri=https://login.microsoftonline.com/{tenant}",
            'Basic realm="https://tfsprodweu.visualstudio.com/"',
            "TFS-Federated",
        ]

    def refusal(self, authorization, lfs):
        """Why the header's token is not good enough; None if it is."""
        if authorization is None:
            return "no token"
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "basic":
            return "not Basic"
        token = base64.b64decode(value).decode().partition(":")[2]
        with self.lock:
            if not token:
                return "no token"
            self.seen.update([token, value])
            self.tokens.add(token)
            try:
                claims = self.tenant.claims(token)
            except jwt.PyJWTError as error:
                return f"bad token: {error}"
            if self.ahead_for > 0:
                self.ahead_for -= 1
                ahead = self.ahead
            else:
                ahead = 0
            if claims["exp"] <= time.time() + ahead:
                return "expired"
            if self.revoke > 0:
                self.revoke -= 1
                self.revoked.add(claims["uti"])
            if claims["uti"] in self.revoked:
                return "revoked"
        if self.other_tenant:
            return "wrong tenant"
        if lfs and self.refuses_lfs:
            return "no LFS for you"
        return None


class Server(ThreadingHTTPServer):
    """One thread a connection, each behind TLS."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address, handler, context):
        super().__init__(address, handler)
        self.context = context

    def finish_request(self, request, client_address):
        # In the connection's own thread: a slow handshake holds nobody else up.
        request.settimeout(60)
        try:
            with self.context.wrap_socket(request, server_side=True) as stream:
                super().finish_request(stream, client_address)
        except (OSError, ssl.SSLError):
            pass  # The client went away.


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer()

    do_POST = do_PUT = do_GET

    def answer(self):
        azure = self.server.azure
        body = self.read_body()
        host = self.headers["Host"].partition(":")[0]
        path, _, query = self.path.partition("?")
        lfs = "/info/lfs/" in path or "/_lfs/" in path
        refusal = azure.refusal(self.headers["Authorization"], lfs)
        azure.log.append((self.command, host, path, len(body), refusal))
        if refusal:
            headers = [("WWW-Authenticate", value) for value in azure.challenge()]
            self.reply(401, headers, f"TF400813: {refusal}".encode())
            return
        organisation = urllib.parse.unquote(path).strip("/").split("/")[0]
        if host != "dev.azure.com":
            organisation = host.partition(".")[0]
            path = f"/{organisation}{path}"
        path = urllib.parse.unquote(path)
        if lfs:
            self.lfs(host, path, body)
        else:
            self.git(path.replace("/_git/", "/"), query, body)

    def read_body(self):
        if self.headers["Transfer-Encoding"] == "chunked":
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def reply(self, status, headers, body):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def git(self, path, query, body):
        azure = self.server.azure
        variables = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": azure.repositories,
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": "/nonexistent",
            "REMOTE_USER": "ada",
            "REMOTE_ADDR": "127.0.0.1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers["Content-Type"] or "",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers["Content-Encoding"] or "",
            "GIT_PROTOCOL": self.headers["Git-Protocol"] or "",
        }
        ran = subprocess.run([azure.backend], input=body, capture_output=True, env=variables, timeout=60, check=False)
        head, _, content = ran.stdout.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode().splitlines()]
        status = int(dict(headers).get("Status", "200").split()[0])
        self.reply(status, [pair for pair in headers if pair[0] != "Status"], content)

    def lfs(self, host, path, body):
        """Git LFS's batch API, its object storage, and locks that nobody holds."""
        azure = self.server.azure
        kind = [("Content-Type", "application/vnd.git-lfs+json")]
        if path.endswith("/objects/batch"):
            request = json.loads(body)
            base = f"https://{host}/{path.strip('/').split('/')[0]}/_lfs"
            objects = []
            for wanted in request["objects"]:
                there = os.path.exists(os.path.join(azure.objects, wanted["oid"]))
                actions = {}
                if there == (request["operation"] == "download"):
                    actions[request["operation"]] = {"href": f"{base}/{wanted['oid']}"}
                objects.append({**wanted, "actions": actions})
            self.reply(200, kind, json.dumps({"transfer": "basic", "objects": objects}).encode())
        elif path.endswith("/locks/verify"):
            self.reply(200, kind, b'{"ours":[],"theirs":[]}')
        elif "/_lfs/" in path:
            file = os.path.join(azure.objects, os.path.basename(path))
            if self.command == "PUT":
                with open(file, "wb") as output:
                    output.write(body)
                self.reply(200, [], b"")
            else:
                with open(file, "rb") as content:
                    self.reply(200, [("Content-Type", "application/octet-stream")], content.read())
        else:
            self.reply(404, kind, b'{"message":"not found"}')


class Proxy:
    """A CONNECT proxy: whoever asks for Azure DevOps reaches `target`; nobody reaches anything else."""

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = "http://127.0.0.1:%d" % self.listener.getsockname()[1]

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.connect, args=(client,), daemon=True).start()

    def stop(self):
        # Closing alone would leave `accept` waiting.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def connect(self, client):
        with client:
            client.settimeout(60)
            head = b""
            while b"\r\n\r\n" not in head:
                more = client.recv(4096)
                if not more:
                    return
                head += more
            method, target, *_ = head.decode("latin-1").split(" ")
            host, _, port = target.rpartition(":")
            if method != "CONNECT" or port != "443" or not HOSTS.match(host.lower()):
                client.sendall(b"HTTP/1.1 502 Not Emulated\r\nContent-Length: 0\r\n\r\n")
                return
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            with socket.create_connection(self.target) as server:
                self.pump(client, server)

    def pump(self, client, server):
        other = {client: server, server: client}
        while True:
            ready, _, _ = select.select([client, server], [], [], 30)
            if not ready:
                return
            for stream in ready:
                try:
                    data = stream.recv(1 << 16)
                    if not data:
                        return
                    other[stream].sendall(data)
                except OSError:
                    return
