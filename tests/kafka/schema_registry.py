"""A schema registry of one file: Confluent's HTTP interface as far as clients of topics use it, with basic authentication, and
with outages: `stop()` closes its port, `start()` opens the same one again with all that was registered. `Front` stands before a
real one, and gives it the same."""

import base64
import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class SchemaRegistry:
    """Schemas by number and by subject; numbers are given once a schema, whatever its subjects."""

    def __init__(self, user=None, password=None):
        self.schemas, self.subjects, self.requests, self.refused = {}, {}, [], set()
        self.expected = None
        if user is not None:
            self.expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.port, self.server = 0, None

    @property
    def url(self):
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        """Listens; the first time at any port."""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):  # noqa: N802
                self.answer("GET", None)

            def do_POST(self):  # noqa: N802
                self.answer("POST", json.loads(self.rfile.read(int(self.headers.get("content-length") or 0))))

            def answer(self, method, body):
                """Sends what the registry says."""
                registry.requests.append((method, self.path))
                if registry.expected and self.headers.get("authorization") != registry.expected:
                    status, said = 401, {"error_code": 401, "message": "Unauthorized"}
                else:
                    status, said = registry.respond(method, self.path, body)
                data = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("content-type", "application/vnd.schemaregistry.v1+json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        class Server(ThreadingHTTPServer):
            """Connections end with the server."""

            daemon_threads = True
            allow_reuse_address = True

            def __init__(self, *args):
                self.open = set()
                super().__init__(*args)

            def process_request(self, request, client_address):
                self.open.add(request)
                super().process_request(request, client_address)

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        """Closes the port and all connections."""
        self.server.shutdown()
        self.server.server_close()
        for connection in self.server.open:
            try:
                connection.shutdown(2)
            except OSError:
                pass
            connection.close()

    def register(self, subject, schema, kind="AVRO", references=()):
        """Gives a schema a number, as a producer does."""
        content = (kind, schema, json.dumps(list(references)))
        number = next((n for n, known in self.schemas.items() if known == content), None)
        if number is None:
            number = len(self.schemas) + 1
            self.schemas[number] = content
        versions = self.subjects.setdefault(subject, [])
        if number not in versions:
            versions.append(number)
        return number

    def schema(self, number):
        """The language and the text of a schema."""
        return self.schemas[number][:2]

    def only_takes(self, subject, level="BACKWARD"):
        """From now on a schema of this subject must be compatible with the one before."""
        del level
        self.refused.add(subject)

    def described(self, number):
        """A schema as it is answered."""
        kind, schema, references = self.schemas[number]
        said = {"schema": schema}
        if kind != "AVRO":
            said["schemaType"] = kind
        if references != "[]":
            said["references"] = json.loads(references)
        return said

    def respond(self, method, path, body):
        """The status and what is said."""
        path = urllib.parse.urlsplit(path).path
        not_found = lambda code, what: (404, {"error_code": code, "message": f"{what} not found"})  # noqa: E731
        if match := re.fullmatch(r"/schemas/ids/(\d+)", path):
            number = int(match[1])
            return (200, self.described(number)) if number in self.schemas else not_found(40403, f"Schema {number}")
        if path == "/subjects":
            return 200, sorted(self.subjects)
        if re.fullmatch(r"/config(/[^/]+)?", path):
            return 200, {"compatibilityLevel": "BACKWARD"}
        if match := re.fullmatch(r"/subjects/([^/]+)(/versions(/(\d+))?)?", path):
            subject = urllib.parse.unquote(match[1])
            if method == "GET":
                versions = self.subjects.get(subject, [])
                at = int(match[4] or 0)
                if not 0 < at <= len(versions):
                    return not_found(40401, f"Subject '{subject}'")
                return 200, {"subject": subject, "version": at, "id": versions[at - 1], **self.described(versions[at - 1])}
            content = (body.get("schemaType", "AVRO"), body["schema"], json.dumps(body.get("references", [])))
            known = next((n for n in self.subjects.get(subject, []) if self.schemas[n] == content), None)
            if match[2]:
                if subject in self.refused and known is None:
                    return 409, {"error_code": 409, "message": "incompatible with an earlier schema"}
                return 200, {"id": self.register(subject, content[1], content[0], json.loads(content[2]))}
            if known is None:
                return not_found(40403, "Schema")
            return 200, {"subject": subject, "version": self.subjects[subject].index(known) + 1, "id": known}
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}


class Front(SchemaRegistry):
    """Stands before a real registry: asks for the password, and is away when it shall be; all else is the registry's."""

    def __init__(self, upstream, user=None, password=None):
        super().__init__(user, password)
        self.upstream = upstream.rstrip("/")

    def respond(self, method, path, body):
        """What the registry answers."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.upstream + path, data, {"content-type": "application/vnd.schemaregistry.v1+json"}, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    def asked(self, method, path, body=None):
        """The same, which must succeed."""
        status, said = self.respond(method, path, body)
        if status >= 300:
            raise AssertionError(f"{method} {path}: {status} {said}")
        return said

    def register(self, subject, schema, kind="AVRO", references=()):
        """Gives a schema a number, as a producer does."""
        body = {"schema": schema, "schemaType": kind, "references": list(references)}
        return self.asked("POST", f"/subjects/{urllib.parse.quote(subject, safe='')}/versions", body)["id"]

    def schema(self, number):
        """The language and the text of a schema."""
        said = self.asked("GET", f"/schemas/ids/{number}")
        return said.get("schemaType", "AVRO"), said["schema"]

    def only_takes(self, subject, level="BACKWARD"):
        """From now on a schema of this subject must be compatible with the one before."""
        self.asked("PUT", f"/config/{urllib.parse.quote(subject, safe='')}", {"compatibility": level})
