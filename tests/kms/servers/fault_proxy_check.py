"""Does the fault proxy do what its head says? Asked with Python's own client and server; silent if it does.

    fault_proxy_check.py CONTROL_PORT FOLDER      of a fault proxy that runs
"""

import email.utils
import http.client
import http.server
import json
import socket
import ssl
import sys
import threading
import time
import warnings

warnings.simplefilter("ignore", DeprecationWarning)  # of TLS 1.1


class Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps({"key": "abc", "nested": {"a": 1}, "host": self.headers["Host"], "body": body.decode()})
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(f"3\r\n{answer[:3]}\r\n{len(answer) - 3:x}\r\n{answer[3:]}\r\n0\r\n\r\n".encode())
        else:
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass


class Proxy:
    def __init__(self, port, folder):
        self.folder = folder
        self.lines = socket.create_connection(("127.0.0.1", port)).makefile("rw")

    def order(self, **order):
        self.lines.write(json.dumps(order) + "\n")
        self.lines.flush()
        return json.loads(self.lines.readline())

    def request(self, port, path="/path?query", tls=None, timeout=5):
        connection = self.connect(port, tls, timeout)
        connection.request("POST", path, "question", {"X-Amz-Target": "Target"})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def connect(self, port, tls=None, timeout=5):
        tls = tls or ssl.create_default_context(cafile=f"{self.folder}/ca.pem")
        return http.client.HTTPSConnection("127.0.0.1", port, context=tls, timeout=timeout)

    def injected(self, port, action, **fault):
        self.order(op="clear", port=port)
        self.order(op="fault", port=port, fault={"action": action, **fault})


def fails(expected, call, *arguments, **named):
    try:
        got = call(*arguments, **named)
    except expected as error:
        return error
    raise AssertionError(f"{got} instead of {expected}")


def main(port, folder):
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{upstream.server_port}"
    proxy = Proxy(port, folder)

    at = proxy.order(op="listen", upstream=address, tls="good")["port"]
    for path in ["/plain", "/chunked"]:
        status, _, body = proxy.request(at, path)
        body = json.loads(body)
        assert (status, body["body"], body["host"]) == (200, "question", f"127.0.0.1:{at}"), body
    kept = proxy.connect(at)
    for _ in range(2):
        kept.request("POST", "/kept", "question")
        assert kept.getresponse().read()

    proxy.injected(at, {"status": 429, "headers": {"Retry-After": "7"}, "body": "{}"}, match="Target", times=1)
    status, headers, body = proxy.request(at)
    assert (status, headers["Retry-After"], body) == (429, "7", b"{}")
    assert proxy.request(at)[0] == 200, "once only"
    proxy.injected(at, {"status": 500}, match="/elsewhere")
    assert proxy.request(at)[0] == 200, "elsewhere only"

    proxy.injected(at, {"set": [["key"], "xyz", ["nested", "a"], 2, ["not", "there"], 3]})
    body = json.loads(proxy.request(at)[2])
    assert (body["key"], body["nested"], "not" in body) == ("xyz", {"a": 2}, False), body
    proxy.injected(at, {"flip": True})
    flipped = proxy.request(at)[2]
    proxy.order(op="clear", port=at)
    assert sum(one != other for one, other in zip(flipped, proxy.request(at)[2], strict=True)) == 1
    proxy.injected(at, {"truncate": True})
    fails(ValueError, json.loads, proxy.request(at)[2])
    proxy.injected(at, {"cut": True})
    assert fails(http.client.IncompleteRead, proxy.request, at).partial
    proxy.injected(at, {"drop": True})
    fails(http.client.RemoteDisconnected, proxy.request, at)
    proxy.injected(at, {"hang": True})
    fails(TimeoutError, proxy.request, at, timeout=0.5)
    proxy.injected(at, {"delay": 1})
    start = time.monotonic()
    assert proxy.request(at)[0] == 200 and time.monotonic() - start >= 1
    proxy.injected(at, {"date": -86_400})
    date = email.utils.parsedate_to_datetime(proxy.request(at)[1]["Date"]).timestamp()
    assert 86_000 < time.time() - date < 87_000, date

    counts = proxy.order(op="counts", port=at)["counts"]
    assert counts["POST /kept"] == 2 and counts["POST /path Target"] == 12, counts
    proxy.order(op="close", port=at)
    fails(ConnectionRefusedError, proxy.request, at)

    unknown = proxy.order(op="listen", upstream=address, tls="unknown-issuer")["port"]
    fails(ssl.SSLCertVerificationError, proxy.request, unknown)
    old = proxy.order(op="listen", upstream=address, tls="tls1.1")["port"]
    assert "PROTOCOL_VERSION" in str(fails(ssl.SSLError, proxy.request, old))
    assert proxy.order(op="counts", port=old)["counts"] == {}
    willing = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    willing.minimum_version = ssl.TLSVersion.TLSv1_1
    willing.set_ciphers("ALL:@SECLEVEL=0")
    fails(OSError, proxy.request, old, tls=willing)
    assert proxy.order(op="counts", port=old)["counts"] == {"TLS 1.1": 1}
    proxy.order(op="close", port=old)
    fails(ConnectionRefusedError, proxy.request, old)
    silent = proxy.order(op="listen", upstream=None, tls="good")["port"]
    fails(TimeoutError, proxy.request, silent, timeout=0.5)
    assert "error" in proxy.order(op="nonsense", port=silent)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
