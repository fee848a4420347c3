"""An S3 server on its bad days, in front of one on its good days."""
import contextlib
import http.client
import http.server
import random
import threading
import time

BUSY = 503, "SlowDown"
CONFLICT = 409, "ConditionalRequestConflict"
FAILED = 412, "PreconditionFailed"
BROKEN = 500, "InternalError"


class UnreliableBucket:
    """Whoever dials `address` reaches the S3 server on `target_port`, whose answers are then those of a store under stress:

    - busy, and nothing was done;
    - of a write: it conflicts with another, of which there is none; it is done, and the answer is an error, or that of a
      second attempt; it comes late, or so late that its client has given up before it is done."""

    def __init__(self, target_port, seed):
        self.target_port, self.random, self.share = target_port, random.Random(seed), 0.0
        self.faults = 0
        bucket = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_request(self):
                with contextlib.suppress(OSError):
                    return super().handle_one_request()
                self.close_connection = True

            def log_message(self, *_):
                pass

            def do_GET(self):
                bucket.answer(self)

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def bad(self, share):
        """From now on this share of all requests meets something."""
        self.share = share

    def good(self):
        self.share = 0.0

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request):
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        if self.random.random() >= self.share:
            return self._pass(request, self._forward(request, body))
        self.faults += 1
        writes = request.command in ("PUT", "DELETE")
        conditional = request.headers.get("if-match") or request.headers.get("if-none-match")
        kinds = [self._busy, self._late] + writes * [self._done_and_broken, self._twice, self._abandoned]
        kinds += (writes and conditional is not None) * [self._conflict, self._done_and_failed]
        return self.random.choice(kinds)(request, body)

    def _busy(self, request, _):
        self._error(request, BUSY)

    def _conflict(self, request, _):
        self._error(request, CONFLICT)

    def _late(self, request, body):
        time.sleep(self.random.uniform(0.1, 1))  # it is the delay that is tested, here and below
        self._pass(request, self._forward(request, body))

    def _done_and_broken(self, request, body):
        self._forward(request, body)
        self._error(request, BROKEN)

    def _done_and_failed(self, request, body):
        self._forward(request, body)
        self._error(request, FAILED)

    def _twice(self, request, body):
        self._forward(request, body)
        self._pass(request, self._forward(request, body))

    def _abandoned(self, request, body):
        request.close_connection = True
        request.connection.close()
        time.sleep(self.random.uniform(0.1, 1.5))
        self._forward(request, body)

    def _forward(self, request, body):
        """As it came: its signature covers its headers."""
        server = http.client.HTTPConnection("127.0.0.1", self.target_port, timeout=30)
        try:
            server.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                server.putheader(name, value)
            server.endheaders(body)
            answer = server.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            server.close()

    @staticmethod
    def _pass(request, answer):
        status, headers, body = answer
        request.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                request.send_header(name, value)
        length = dict((name.lower(), value) for name, value in headers).get("content-length", "0")
        request.send_header("content-length", length if request.command == "HEAD" else str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _error(self, request, what):
        status, code = what
        body = b"" if request.command == "HEAD" else (
            f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>on a bad day</Message></Error>'.encode())
        self._pass(request, (status, [("content-type", "application/xml")], body))
