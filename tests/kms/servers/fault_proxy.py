"""A reverse proxy for HTTP/1.1 that fails on demand, so that tests see what a key service does on its worst days.

    fault_proxy.py CONTROL_PORT FOLDER

FOLDER gets ca.pem: the authority of the proxy's own certificates. The control port takes one JSON object a line and
answers with one. Each listener has faults and counters of its own, so tests do not meet each other here.

    {"op": "listen", "upstream": "http://127.0.0.1:4566", "tls": "good"}  ->  {"port": 41234}
        tls: null (plain HTTP), "good", "unknown-issuer", "tls1.1" (agrees to that or nothing, counts who did, and hangs up)
        upstream: http or https (any certificate: it is on this machine), or null for a listener that never answers
    {"op": "fault", "port": 41234, "fault": {...}}   one more; the first that matches is taken
    {"op": "clear", "port": 41234}                   no more faults
    {"op": "counts", "port": 41234}                  -> {"counts": {"POST /v1/transit/encrypt/k": 2}}
    {"op": "close", "port": 41234}                   from now on connections are refused

A fault:
    match    text that "METHOD /path?query X-Amz-Target" must hold; everything by default
    times    how many requests it takes; all by default
    action   one of
        {"status": 503, "headers": {"Retry-After": "7"}, "body": "..."}    answered here, the server is not asked
        {"delay": 5}                 seconds before the request goes on to the server
        {"hang": true}               the request is read and never answered
        {"drop": true}               the request is read and the connection closed
        {"cut": true}                the server's answer breaks off in the middle of its body
        {"flip": true}               a bit in the middle of the body is another one
        {"truncate": true}           half of the body, under a Content-Length that says that this is all
        {"set": [["path", "to", "field"], value, ...]}    fields of the server's JSON answer, replaced
        {"date": -86400}             seconds that the Date of the server's answer is off
"""

import asyncio
import datetime
import email.utils
import ipaddress
import json
import socket
import ssl
import sys
import threading
import time
import warnings
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

LOOPBACK = "127.0.0.1"


class Certificates:
    """An authority that clients are told to trust, one that they are not, and a server certificate of each."""

    def __init__(self, folder):
        self.contexts = {}
        for tls in ["good", "unknown-issuer"]:
            authority, leaf = folder / f"{tls}-ca.pem", folder / f"{tls}.pem"
            issue(authority, leaf)
            self.contexts[tls] = context(leaf)
        (folder / "good-ca.pem").rename(folder / "ca.pem")
        old = context(folder / "good.pem")
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore"):  # that it is deprecated is the point
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        self.contexts["tls1.1"] = old


def context(leaf):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(leaf)
    return made


def issue(authority, leaf):
    """Writes an authority's certificate, and a key with a certificate by it for the names of this machine."""
    now = datetime.datetime.now(datetime.timezone.utc)

    def certificate(name, issuer, key, signer):
        names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (name, issuer)]
        builder = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=7))
        is_authority = name == issuer
        builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        if is_authority:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        else:
            places = [x509.DNSName(name) for name in ("localhost", "*.localhost", "key-service.test")]
            places += [x509.IPAddress(ipaddress.ip_address(address)) for address in (LOOPBACK, "::1")]
            builder = builder.add_extension(x509.SubjectAlternativeName(places), critical=False)
            purpose = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH])
            builder = builder.add_extension(purpose, critical=False)
        return builder.sign(signer, hashes.SHA256())

    signer, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = serialization.Encoding.PEM
    authority.write_bytes(certificate("Test authority", "Test authority", signer, signer).public_bytes(pem))
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    leaf.write_bytes(plain + certificate("Test server", "Test authority", key, signer).public_bytes(pem))


class Listener:
    """One port, in front of one server."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.faults = []
        self.counts = {}
        self.writers = set()
        self.server = None

    async def open(self, tls):
        serve = self.serve if self.upstream else self.stay_silent
        self.server = await asyncio.start_server(serve, LOOPBACK, 0, ssl=tls, backlog=512)
        return self.server.sockets[0].getsockname()[1]

    async def close(self):
        self.server.close()
        for writer in list(self.writers):
            writer.transport.abort()

    async def stay_silent(self, reader, writer):
        self.writers.add(writer)
        await asyncio.Event().wait()

    async def serve(self, reader, writer):
        self.writers.add(writer)
        try:
            while await self.exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def exchange(self, reader, writer):
        """One request and its answer; false if the connection is over."""
        request = await Message.read(reader)
        if request is None:
            return False
        method, target, _ = request.start.split(" ", 2)
        goes_on = (request.header("connection") or "").lower() != "close"
        counted = f"{method} {target.split('?')[0]} {request.header('x-amz-target') or ''}".rstrip()
        self.counts[counted] = self.counts.get(counted, 0) + 1
        action = self.fault_of(f"{method} {target} {request.header('x-amz-target') or ''}")
        if "status" in action:
            body = action.get("body", "").encode()
            headers = [("Content-Type", "application/json"), *action.get("headers", {}).items()]
            answer = Message(f"HTTP/1.1 {action['status']} Injected", headers, body)
        elif "hang" in action:
            await asyncio.Event().wait()
        elif "drop" in action:
            return False
        else:
            await asyncio.sleep(action.get("delay", 0))
            answer = await self.ask(request, method)
        if "set" in action:
            answer.set_fields(action["set"])
        if "date" in action:
            answer.put("Date", email.utils.formatdate(time.time() + action["date"], usegmt=True))
        if "flip" in action and answer.body:
            at = len(answer.body) // 2
            answer.body = answer.body[:at] + bytes([answer.body[at] ^ 1]) + answer.body[at + 1 :]
        if "truncate" in action:
            answer.body = answer.body[: len(answer.body) // 2]
        whole = answer.encode(sized=method != "HEAD")
        if "cut" in action:
            lost = (len(answer.body) + 1) // 2 or 1  # without a body, the end of the head
            writer.write(whole[: len(whole) - lost])
            await writer.drain()
            return False
        writer.write(whole)
        await writer.drain()
        return goes_on

    def fault_of(self, shown):
        for fault in self.faults:
            if fault.get("match", "") in shown and fault.get("times") != 0:
                if "times" in fault:
                    fault["times"] -= 1
                return fault["action"]
        return {}

    async def ask(self, request, method):
        scheme, place = self.upstream.split("://")
        host, port = place.rstrip("/").rsplit(":", 1)
        tls = None
        if scheme == "https":
            tls = ssl.create_default_context()
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        for attempt in range(50):
            try:
                reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
                break
            except ConnectionError:
                if attempt == 49:
                    return Message("HTTP/1.1 502 Bad Gateway", [], b"the server behind the fault proxy is away")
                await asyncio.sleep(0.02)
        request.put("Connection", "close")
        writer.write(request.encode())
        await writer.drain()
        answer = await Message.read(reader, to_the_end=True, bodiless=method == "HEAD")
        writer.close()
        if answer is None:
            return Message("HTTP/1.1 502 Bad Gateway", [], b"the server behind the fault proxy gave no answer")
        answer.drop("connection", "keep-alive")
        return answer


class OldListener:
    """Agrees to TLS 1.1 with whoever wants that, and counts them; others get the alert that the protocol says."""

    def __init__(self, tls):
        self.tls = tls
        self.counts = {}
        self.socket = socket.create_server((LOOPBACK, 0))

    async def open(self):
        threading.Thread(target=self.serve, daemon=True).start()
        return self.socket.getsockname()[1]

    async def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)  # or accept would go on
        self.socket.close()

    def serve(self):
        # Not by asyncio, which closes a connection before the alert is sent.
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            try:
                connection.settimeout(10)
                agreed = self.tls.wrap_socket(connection, server_side=True)
                self.counts["TLS 1.1"] = self.counts.get("TLS 1.1", 0) + 1
                agreed.close()
            except OSError:
                connection.close()


class Message:
    """A request or an answer, read whole."""

    def __init__(self, start, headers, body):
        self.start, self.headers, self.body = start, headers, body

    @staticmethod
    async def read(reader, to_the_end=False, bodiless=False):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        start, *lines = head.decode("latin-1").split("\r\n")[:-2]
        pairs = [line.split(":", 1) for line in lines]
        message = Message(start, [(name, value.strip()) for name, value in pairs], b"")
        if start.startswith("HTTP/1.1 100"):
            return await Message.read(reader, to_the_end, bodiless)
        if bodiless:
            return message
        if "chunked" in (message.header("transfer-encoding") or "").lower():
            while size := int((await reader.readline()).split(b";")[0], 16):
                message.body += (await reader.readexactly(size + 2))[:-2]
            while (await reader.readline()).strip():
                pass
        elif (length := message.header("content-length")) is not None:
            message.body = await reader.readexactly(int(length))
        elif to_the_end:
            message.body = await reader.read()
        message.drop("transfer-encoding")
        return message

    def encode(self, sized=True):
        if sized:
            self.put("Content-Length", str(len(self.body)))
        head = [self.start, *(f"{name}: {value}" for name, value in self.headers), "", ""]
        return "\r\n".join(head).encode("latin-1") + self.body

    def header(self, name):
        return next((value for known, value in self.headers if known.lower() == name), None)

    def put(self, name, value):
        self.drop(name.lower())
        self.headers.append((name, value))

    def drop(self, *names):
        self.headers = [(name, value) for name, value in self.headers if name.lower() not in names]

    def set_fields(self, changes):
        """Replaces fields that are there; an answer that has none of them (an error, say) is left alone."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return
        for path, value in zip(changes[::2], changes[1::2]):
            place = document
            for step in path[:-1]:
                place = place.get(step, {})
            if path[-1] in place:
                place[path[-1]] = value
        self.body = json.dumps(document).encode()


async def main(port, folder):
    certificates = Certificates(folder)
    listeners, refused = {}, {}

    async def control(order):
        if order["op"] == "listen":
            tls = certificates.contexts.get(order["tls"])
            if order["tls"] == "tls1.1":
                listener = OldListener(tls)
                opened = await listener.open()
            else:
                listener = Listener(order["upstream"])
                # Silence begins before TLS does.
                opened = await listener.open(tls if order["upstream"] else None)
            listeners[opened] = listener
            return {"port": opened}
        listener = listeners[order["port"]]
        if order["op"] == "fault":
            listener.faults.append(order["fault"])
        elif order["op"] == "clear":
            listener.faults.clear()
        elif order["op"] == "counts":
            return {"counts": listener.counts}
        elif order["op"] == "close":
            if order["port"] not in refused:
                await listener.close()
                # Bound, so that no other listener gets it, but not listened at.
                refused[order["port"]] = held = socket.socket()
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held.bind((LOOPBACK, order["port"]))
        else:
            raise ValueError(f"unknown op {order['op']}")
        return {}

    async def serve(reader, writer):
        while line := await reader.readline():
            try:
                answer = await control(json.loads(line))
            except Exception as error:  # the test that gave the order fails with this text
                answer = {"error": repr(error)}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, LOOPBACK, port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
