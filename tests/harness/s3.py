"""A real S3 server on loopback, over a folder."""
import datetime
import hashlib
import hmac
import os
import pathlib
import signal
import urllib.request

from .process import accepts_connections, clean_environment, free_port, spawn, wait_until

ACCESS, SECRET, REGION = "runneltest", "runneltestsecret", "us-east-1"


class S3Server:
    """versitygw; every bucket is a folder of `data`."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.data = self.directory / "objects"
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        self.data.mkdir(parents=True, exist_ok=True)
        args = [os.environ["VERSITYGW_BIN"], "--port", f"127.0.0.1:{self.port}", "--access", ACCESS,
                "--secret", SECRET, "--region", REGION, "--quiet", "posix", self.data]
        self.process = spawn(args, self.directory / "s3.log", clean_environment())
        wait_until(lambda: accepts_connections(self.port), "the S3 server listening")
        return self

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def hang(self):
        """From now on it accepts connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        """Ends `hang`, or starts it again after `stop`."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        else:
            self.start()

    def create_bucket(self, name):
        """A bucket must be made through the API; one signed request needs no library."""
        self._put(f"/{name}", b"")

    def put(self, bucket, key, body):
        """Writes an object."""
        self._put(f"/{bucket}/{key}", body)

    def _put(self, path, body):
        request = urllib.request.Request(self.endpoint + path, data=body, method="PUT",
                                         headers=self._signed("PUT", path, body))
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def settings(self, url):
        """Settings of a broker that keeps its bucket here."""
        return {"STORAGE__URL": url, "STORAGE__ENDPOINT": self.endpoint, "STORAGE__REGION": REGION,
                "STORAGE__ACCESS_KEY_ID": ACCESS, "STORAGE__SECRET_ACCESS_KEY": SECRET,
                "STORAGE__ALLOW_HTTP": "true"}

    def _signed(self, method, path, body):
        """The headers of AWS signature version 4 for a request without a query."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        day, digest = now[:8], hashlib.sha256(body).hexdigest()
        headers = {"host": f"127.0.0.1:{self.port}", "x-amz-content-sha256": digest, "x-amz-date": now}
        names = ";".join(headers)
        canonical = "\n".join([method, path, "", *(f"{k}:{v}" for k, v in headers.items()), "", names, digest])
        scope = f"{day}/{REGION}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = f"AWS4{SECRET}".encode()
        for part in (day, REGION, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        credential = f"AWS4-HMAC-SHA256 Credential={ACCESS}/{scope}, SignedHeaders={names}, Signature={signature}"
        return {k: v for k, v in headers.items() if k != "host"} | {"Authorization": credential}
