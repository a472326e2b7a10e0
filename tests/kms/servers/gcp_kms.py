#!/usr/bin/env python3
"""A test server that speaks the REST protocol of Google Cloud KMS, with the token services around it.

Written from the published reference (https://cloud.google.com/kms/docs/reference/rest and the discovery document of
cloudkms v1), and checked with Google's own Python client: ../official/gcp_check.py. It holds keys in memory, binds the
associated data for real, and checks whatever the reference says is checked. Not a stand-in for anything but tests.

    gcp_kms.py [--port 0] [--state FILE]      prints "listening on 127.0.0.1:PORT"; with a file remembers everything

Under one port: the KMS (/v1/...), an OAuth token endpoint (/token), a security token service (/v1/token), the
metadata server (/computeMetadata/v1/...), and what the tests set up and look at (/control/..., see `Control`).
"""

import argparse
import base64
import binascii
import json
import re
import sys
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

sys.dont_write_bytecode = True  # this folder belongs to the sources

from gcp.crc32c import crc32c
from gcp.errors import ApiError, invalid, not_found, throttled
from gcp.identity import SCOPES, Identities, OAuthError
from gcp.keys import SEGMENT, KeyStore, utc
from memory import keep, recall

RING = rf"projects/[^/]+/locations/[^/]+/keyRings/{SEGMENT}"
KEY = rf"{RING}/cryptoKeys/{SEGMENT}"
VERSION = rf"{KEY}/cryptoKeyVersions/[^/:]+"
ENUMS = {
    "purpose": {"ENCRYPT_DECRYPT": 1, "ASYMMETRIC_SIGN": 5},
    "state": {"PENDING_GENERATION": 5, "ENABLED": 1, "DISABLED": 2, "DESTROYED": 3, "DESTROY_SCHEDULED": 4},
    "protectionLevel": {"SOFTWARE": 1, "HSM": 2},
    "algorithm": {"GOOGLE_SYMMETRIC_ENCRYPTION": 1, "EC_SIGN_P256_SHA256": 12},
}
CRYPTO_CALLS = ("encrypt", "decrypt")


class Service:
    """The calls of the KMS. Each takes the caller, the resource's name, the query and the body."""

    def __init__(self):
        self.offsets, self.request = {}, threading.local()
        self.identities = Identities(self.clock)
        self.store, self.lock = KeyStore(), threading.Lock()
        self.faults, self.calls, self.damage = [], {}, None

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name not in ("lock", "request")}

    def __setstate__(self, state):
        vars(self).update(state, lock=threading.Lock(), request=threading.local())

    def clock(self):
        offset, _ = self.offsets.get(getattr(self.request, "host", None), (0, 0))
        return time.time() + offset

    def now(self):
        return utc(self.clock())

    def call(self, method, name, authorization, query, body):
        with self.lock:
            self.calls[method] = self.calls.get(method, 0) + 1
            self._fail_as_told(method)
            caller = self._caller(authorization)
            return getattr(self, method)(caller, name, query, body)

    def _caller(self, authorization):
        host = self.request.host
        try:
            return self.identities.caller(authorization)
        finally:
            offset, calls = self.offsets.pop(host, (0, 0))
            if calls > 1:
                self.offsets[host] = (offset, calls - 1)

    def _fail_as_told(self, method):
        for fault in self.faults:
            if fault["method"] in (method, "*") and fault["times"] > 0:
                fault["times"] -= 1
                if fault["status"] == "RESOURCE_EXHAUSTED":
                    metric = "Cryptographic requests" if method in CRYPTO_CALLS else "Read requests"
                    raise throttled(metric, fault.get("retry_after"))
                raise ApiError(fault["status"], fault.get("message", "The service is currently unavailable."))

    def encrypt(self, caller, name, _query, body):
        fields = Fields(body, "plaintext", "additionalAuthenticatedData")
        key_name, number = split_version(name)
        self.identities.require(caller, "cloudkms.cryptoKeyVersions.useToEncrypt", key_name)
        plaintext, aad = fields.checked("plaintext"), fields.checked("additionalAuthenticatedData")
        version, ciphertext = self.store.key(key_name).encrypt(plaintext, aad, number)
        checksum = crc32c(ciphertext) ^ (1 if self.damage == "ciphertext" else 0)
        verified = self.damage != "unverified"
        return {
            "name": version.name,
            "ciphertext": encode(ciphertext),
            "ciphertextCrc32c": str(checksum),
            "verifiedPlaintextCrc32c": verified and fields.has_checksum("plaintext"),
            "verifiedAdditionalAuthenticatedDataCrc32c": verified
            and fields.has_checksum("additionalAuthenticatedData"),
            "protectionLevel": version.template["protectionLevel"],
        }

    def decrypt(self, caller, name, _query, body):
        fields = Fields(body, "ciphertext", "additionalAuthenticatedData")
        self.identities.require(caller, "cloudkms.cryptoKeyVersions.useToDecrypt", name)
        ciphertext, aad = fields.checked("ciphertext"), fields.checked("additionalAuthenticatedData")
        key = self.store.key(name)
        version, plaintext = key.decrypt(ciphertext, aad)
        checksum = crc32c(plaintext) ^ (1 if self.damage == "plaintext" else 0)
        return {
            "plaintext": encode(plaintext),
            "plaintextCrc32c": str(checksum),
            "usedPrimary": version is key.primary,
            "protectionLevel": version.template["protectionLevel"],
        }

    def create_ring(self, caller, parent, query, body):
        Fields(body)
        self.identities.require(caller, "cloudkms.keyRings.create", parent)
        return self.store.create_ring(f"{parent}/keyRings/{required(query, 'keyRingId')}", self.now())

    def get_ring(self, caller, name, _query, _body):
        self.identities.require(caller, "cloudkms.keyRings.get", name)
        if name not in self.store.rings:
            raise not_found("KeyRing", name)
        return self.store.rings[name]

    def create_key(self, caller, parent, query, body):
        Fields(body, allowed=("purpose", "versionTemplate", "labels"))
        self.identities.require(caller, "cloudkms.cryptoKeys.create", parent)
        purpose = enum("purpose", body.get("purpose", "CRYPTO_KEY_PURPOSE_UNSPECIFIED"))
        protection = enum("protectionLevel", body.get("versionTemplate", {}).get("protectionLevel", "SOFTWARE"))
        first = query.get("skipInitialVersionCreation", "false").lower() != "true"
        name = f"{parent}/cryptoKeys/{required(query, 'cryptoKeyId')}"
        return self.store.create_key(name, purpose, protection, first, self.now()).resource()

    def get_key(self, caller, name, _query, _body):
        self.identities.require(caller, "cloudkms.cryptoKeys.get", name)
        return self.store.key(name).resource()

    def update_primary(self, caller, name, _query, body):
        Fields(body, allowed=("cryptoKeyVersionId",))
        self.identities.require(caller, "cloudkms.cryptoKeys.update", name)
        key = self.store.key(name)
        key.set_primary(str(body.get("cryptoKeyVersionId", "")))
        return key.resource()

    def list_versions(self, caller, parent, query, _body):
        """Ordered by name as text, as the service does: 1, 10, 2."""
        self.identities.require(caller, "cloudkms.cryptoKeyVersions.list", parent)
        if query.get("filter") or query.get("orderBy"):
            raise invalid("filter and orderBy are not supported by this server.")
        versions = sorted(self.store.key(parent).versions.values(), key=lambda version: version.name)
        size = min(int(query.get("pageSize") or 0) or 100, 1000)
        try:
            start = int(base64.urlsafe_b64decode(query.get("pageToken", "") or "MA=="))
        except (ValueError, binascii.Error):
            raise invalid("The page token is invalid.") from None
        page = {
            "cryptoKeyVersions": [version.resource() for version in versions[start : start + size]],
            "totalSize": len(versions),
        }
        if start + size < len(versions):
            page["nextPageToken"] = base64.urlsafe_b64encode(str(start + size).encode()).decode()
        return page

    def create_version(self, caller, parent, _query, body):
        Fields(body, allowed=("state",))
        self.identities.require(caller, "cloudkms.cryptoKeyVersions.create", parent)
        version = self.store.key(parent).add_version(self.now())
        version.state = enum("state", body.get("state", "ENABLED"))
        return version.resource()

    def get_version(self, caller, name, _query, _body):
        self.identities.require(caller, "cloudkms.cryptoKeyVersions.get", name)
        return self._version(name).resource()

    def patch_version(self, caller, name, query, body):
        if query.get("updateMask") != "state":
            raise invalid("The update mask must be 'state'.")
        self.identities.require(caller, "cloudkms.cryptoKeyVersions.update", name)
        version = self._version(name)
        version.update(enum("state", body.get("state")))
        return version.resource()

    def destroy_version(self, caller, name, _query, _body):
        self.identities.require(caller, "cloudkms.cryptoKeyVersions.destroy", name)
        version = self._version(name)
        version.schedule_destruction(self.now())
        return version.resource()

    def restore_version(self, caller, name, _query, _body):
        self.identities.require(caller, "cloudkms.cryptoKeyVersions.restore", name)
        version = self._version(name)
        version.restore()
        return version.resource()

    def test_permissions(self, caller, name, _query, body):
        """Those of the asked permissions that the caller has; a resource that does not exist grants nothing."""
        Fields(body, allowed=("permissions",))
        asked = body.get("permissions", [])
        return {"permissions": [one for one in asked if self.identities.allowed(caller, one, name)]}

    def _version(self, name):
        key_name, number = split_version(name)
        return self.store.key(key_name).version(number)


# The paths of the reference: method, pattern of the resource's name, the custom verb, and the call.
ROUTES = [
    (verb, re.compile(rf"/v1/({name}){suffix}\Z"), call)
    for verb, name, suffix, call in [
        ("POST", KEY, ":encrypt", "encrypt"),
        ("POST", VERSION, ":encrypt", "encrypt"),
        ("POST", KEY, ":decrypt", "decrypt"),
        ("POST", r"projects/[^/]+/locations/[^/]+", "/keyRings", "create_ring"),
        ("GET", RING, "", "get_ring"),
        ("POST", RING, "/cryptoKeys", "create_key"),
        ("GET", KEY, "", "get_key"),
        ("POST", KEY, ":updatePrimaryVersion", "update_primary"),
        ("POST", KEY, ":testIamPermissions", "test_permissions"),
        ("GET", KEY, "/cryptoKeyVersions", "list_versions"),
        ("POST", KEY, "/cryptoKeyVersions", "create_version"),
        ("GET", VERSION, "", "get_version"),
        ("PATCH", VERSION, "", "patch_version"),
        ("POST", VERSION, ":destroy", "destroy_version"),
        ("POST", VERSION, ":restore", "restore_version"),
    ]
]


class Control:
    """What a test sets up and looks at, each a POST of a JSON object to /control/<name>."""

    def __init__(self, service):
        self.service, self.identities = service, service.identities

    def key(self, name, purpose="ENCRYPT_DECRYPT", protection="SOFTWARE", versions=1):
        """Makes a key, and its ring."""
        service, ring = self.service, name.rsplit("/cryptoKeys/", 1)[0]
        with service.lock:
            if ring not in service.store.rings:
                service.store.create_ring(ring, service.now())
            key = service.store.create_key(name, purpose, protection, versions > 0, service.now())
            for _ in range(1, versions):
                key.add_version(service.now())
            return key.resource()

    def service_account(self, email, url):
        """Gives the key file of a service account."""
        return self.identities.create_account(email, f"{url}/token")

    def grant(self, principal, resource, role=None, permissions=()):
        self.identities.grant(principal, resource, role, permissions)

    def revoke(self, principal):
        self.identities.revoke_grants(principal)

    def metadata(self, email):
        """Makes the metadata server speak for this account; null: for none."""
        self.identities.metadata_account = email

    def federation(self, audience, subject_token, principal):
        """Makes the security token service take this subject token for this principal."""
        self.identities.federated[(audience, subject_token)] = principal

    def expire_tokens(self, principal):
        self.identities.expire_tokens(principal)

    def expire_account(self, principal):
        """No token of this account is good any more."""
        self.identities.expired_accounts.add(principal)

    def clock(self, offset, host, calls):
        """Sets the service's clock off by this many seconds, for who calls it by this name (`127.0.0.1:port`), and for
        this many calls only: the next test may get the same port."""
        self.service.offsets[host] = (offset, calls)

    def rotate(self, name):
        """A new version, made primary."""
        key = self.service.store.key(name)
        key.primary = key.add_version(self.service.now())
        return key.resource()

    def rotate_every(self, name, seconds):
        """The period that the key names; nobody rotates by it here."""
        key = self.service.store.key(name)
        key.rotation, key.next_rotation = seconds, self.service.now() + timedelta(seconds=seconds)

    def fault(self, method, status, times=1, retry_after=None, message=None):
        """The next `times` calls of `method` (or `*`) end with `status`."""
        fault = {"method": method, "status": status, "times": times, "retry_after": retry_after}
        self.service.faults.append(fault | ({"message": message} if message else {}))

    def no_faults(self):
        self.service.faults.clear()
        self.service.damage = None

    def damage(self, what):
        """Spoils a checksum of every answer: of `ciphertext` or `plaintext`; `unverified` says none was looked at."""
        self.service.damage = what

    def lag(self, name):
        """A change of the primary version takes its time from now on, as the service documents it: for ever."""
        key = self.service.store.key(name)
        key.lagging = key.primary

    def versions(self, name):
        """How many versions a key has ever had."""
        return {"count": len(self.service.store.key(name).versions)}

    def version(self, name, action):
        """`disable`, `enable`, `schedule` destruction, `restore` or `destroy` now."""
        key_name, number = split_version(name)
        version, now = self.service.store.key(key_name).version(number), self.service.now()
        {
            "disable": lambda: version.update("DISABLED"),
            "enable": lambda: version.update("ENABLED"),
            "schedule": lambda: version.schedule_destruction(now),
            "restore": version.restore,
            "destroy": lambda: version.destroy(now),
        }[action]()
        return version.resource()

    def calls(self):
        """How often each call was made."""
        return dict(self.service.calls)


class Fields:
    """A request's JSON, with the checks of the protobuf mapping."""

    def __init__(self, body, *names, allowed=()):
        self.body = body
        known = set(allowed) | {name for field in names for name in (field, field + "Crc32c")}
        for name in body:
            if name not in known and name != "name":
                raise invalid(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')

    def has_checksum(self, name):
        return self.body.get(name + "Crc32c") is not None

    def checked(self, name):
        """The bytes of a field, after a look at the checksum that came with it."""
        text = self.body.get(name, "")
        try:
            data = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            message = f"Invalid value at '{snake(name)}' (TYPE_BYTES), Base64 decoding failed for \"{text[:40]}\""
            raise invalid(message) from None
        if self.has_checksum(name) and int(self.body[name + "Crc32c"]) != crc32c(data):
            raise invalid(f"The checksum in field {snake(name)}_crc32c did not match the data in field {snake(name)}.")
        return data


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    service: Service

    state = None

    def do_GET(self):
        self._answer()
        with self.service.lock:
            keep(self.state, self.service)

    do_POST = do_PATCH = do_GET

    def _answer(self):
        self.service.request.host = self.headers.get("Host")
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        path, query = unquote(url.path), {key: values[0] for key, values in parse_qs(url.query).items()}
        try:
            if path.startswith("/control/"):
                return self._json(200, self._control(path[len("/control/") :], raw))
            if path.startswith("/computeMetadata/v1/"):
                return self._metadata(path[len("/computeMetadata/v1/") :])
            if path in ("/token", "/v1/token"):
                return self._token(path, raw)
            for verb, pattern, call in ROUTES:
                match = pattern.match(path)
                if verb == self.command and match:
                    authorization = self.headers.get("Authorization", "")
                    answer = self.service.call(call, match[1], authorization, query, parse(raw))
                    as_numbers = "enum-encoding=int" in query.get("$alt", "")
                    return self._json(200, number_enums(answer) if as_numbers else answer)
            self._send(404, PAGE_404, "text/html; charset=UTF-8")
        except ApiError as error:
            self._json(error.code, error.body(), error.headers)
        except OAuthError as error:
            self._json(400, error.body)
        except Exception as error:  # a fault of this server must not look like a dropped connection
            self.log_error("%r", error)
            self._json(500, ApiError("INTERNAL", f"the test server failed: {error!r}").body())

    def _control(self, name, raw):
        arguments = json.loads(raw or b"{}")
        if name == "service_account":
            arguments.setdefault("url", f"http://{self.headers['Host']}")
        return getattr(Control(self.service), name)(**arguments) or {}

    def _metadata(self, path):
        """https://cloud.google.com/compute/docs/metadata/querying-metadata"""
        account, flavor = self.service.identities.metadata_account, {"Metadata-Flavor": "Google"}
        if self.headers.get("Metadata-Flavor") != "Google":
            return self._send(403, b"Missing Metadata-Flavor:Google header.", "text/html", flavor)
        if account is None:
            return self._send(404, b"The requested URL was not found on this server.", "text/html", flavor)
        if path == "instance/service-accounts/default/token":
            return self._json(200, self.service.identities.issue(account), flavor)
        if path == "instance/service-accounts/default/":  # asked for with ?recursive=true
            known = {"aliases": ["default"], "email": account, "scopes": sorted(SCOPES)}
            return self._json(200, known, flavor)
        if path == "instance/service-accounts/default/email":
            return self._send(200, account.encode(), "application/text", flavor)
        return self._send(404, b"The requested URL was not found on this server.", "text/html", flavor)

    def _token(self, path, raw):
        is_form = "json" not in self.headers.get("Content-Type", "")
        form = dict(parse_qsl(raw.decode())) if is_form else parse(raw)
        if path == "/token":
            return self._json(200, self.service.identities.token_endpoint(form, f"http://{self.headers['Host']}/token"))
        return self._json(200, self.service.identities.exchange_endpoint(form))

    def _json(self, status, body, headers=()):
        self._send(status, json.dumps(body, indent=2).encode(), "application/json; charset=UTF-8", headers)

    def _send(self, status, body, kind, headers=()):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **dict(headers)}.items():
            self.send_header(name, value)
        self._headers_buffer.append(b"\r\n" + body)  # headers and body in one packet
        self.flush_headers()

    def log_message(self, format, *arguments):
        pass


PAGE_404 = b"""<!DOCTYPE html>
<html lang=en><title>Error 404 (Not Found)!!1</title>
<p><b>404.</b> <ins>That's an error.</ins><p>The requested URL was not found on this server.</html>
"""


def parse(raw):
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        raise invalid("Invalid JSON payload received. Unexpected token.") from None
    if not isinstance(body, dict):
        raise invalid('Invalid JSON payload received. Unknown name "": Root element must be a message.')
    return body


def number_enums(value, name=None):
    if isinstance(value, dict):
        return {key: number_enums(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [number_enums(item, name) for item in value]
    return ENUMS[name][value] if name in ENUMS else value


def enum(kind, value):
    """An enum of a request: its name, or its number."""
    names = {number: name for name, number in ENUMS[kind].items()}
    name = names.get(value, value)
    if name not in ENUMS[kind]:
        raise invalid(f"{kind} is missing or unknown: {value}")
    return name


def required(query, name):
    if name not in query:
        raise invalid(f"{name} is required.")
    return query[name]


def split_version(name):
    key, _, number = name.partition("/cryptoKeyVersions/")
    return key, number or None


def snake(name):
    return re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), name)


def encode(data):
    return base64.b64encode(data).decode()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def serve(port=0, state=None):
    """A server on a loopback port, not started yet."""
    handler = type("BoundHandler", (Handler,), {"service": recall(state) or Service(), "state": state})
    return Server(("127.0.0.1", port), handler)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--state", help="a file to remember everything in")
    chosen = options.parse_args()
    with serve(chosen.port, chosen.state) as running:
        print(f"listening on 127.0.0.1:{running.server_address[1]}", flush=True)
        running.serve_forever()
