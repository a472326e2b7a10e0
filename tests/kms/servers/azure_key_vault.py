#!/usr/bin/env python3
"""An Azure Key Vault, or Managed HSM, to test against: its keys API over HTTPS, the token endpoint of Entra ID and the
metadata service that hands out tokens of managed identities.

Written from the REST reference of Key Vault keys (api-version 7.4) and from answers of the real service that are public
(the recordings in Azure/azure-sdk-for-net, error texts in issues). tests/kms/official/azure_check.py checks it with
Microsoft's own client. What it does not do: signing, import, backup, release, certificates, secrets.

    azure_key_vault.py DIRECTORY [--hsm] [--port PORT] [--plain-port PORT] [--control-port PORT] [--until-eof]

makes a certificate authority and a certificate for localhost in DIRECTORY (ca.pem, server.pem), listens on 127.0.0.1
and prints one line of JSON that says where: `vault` (HTTPS; the authority of Entra ID too), `plain` (the same over
HTTP, for a proxy that brings TLS of its own) and `control` (HTTP; the metadata service, and `/control` for tests).

Control: POST /control/<command> with a JSON object, GET /control/counters.

    identity     {client, secrets, expired, subjects, managed}    who may log in, and how: by these secrets (those that
                 have expired are known as such), as these Kubernetes service accounts, as the machine
    allow        {client, key, operations}               null for all operations; a key of "*" holds for all others
    allow        {client, actions}                       by the data actions of a role
    fault        {count, status, code, message, retry_after, operations}   the next requests fail
    answer       {length}                                 unwrapped keys are cut or filled up to this length; null: not
    tokens       {lifetime}                               seconds that new tokens live
    clock        {offset}                                 seconds that the vault's clock is ahead of Entra's
    revoke       {}                                       no token given out so far is taken any more
    quirks       {wrap_while_disabled, page}              see Vault
    counters     {}                                       sets them back
"""

import argparse
import collections
import json
import os
import re
import secrets
import ssl
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from azure_entra import CLIENT, SECRET, SUBJECT, TENANT, Entra, decode, encode
from certificates import make_certificates
from memory import keep, recall

# What each operation is called in a key's key_ops or in an access policy, and in the roles of vaults and of HSMs.
OPERATIONS = {
    "encrypt": "encrypt/action",
    "decrypt": "decrypt/action",
    "wrapKey": "wrap/action",
    "unwrapKey": "unwrap/action",
    "get": "read",
    "list": "read",
    "create": "create/action",
    "update": "update/action",
    "rotate": "rotate/action",
    "getrotationpolicy": "read",
    "updaterotationpolicy": "update/action",
    "delete": "delete",
    "recover": "recover/action",
    "purge": "purge/action",
}
HSM_OPERATIONS = OPERATIONS | {
    "get": "read/action",
    "list": "read/action",
    "getrotationpolicy": "read/action",
    "updaterotationpolicy": "write/action",
    "create": "create",
    "update": "write/action",
    "recover": "deletedKeys/recover/action",
    "purge": "deletedKeys/delete",
}
CRYPTO = {name.lower(): name for name in ("encrypt", "decrypt", "wrapKey", "unwrapKey")}
RSA_PADDINGS = {
    "RSA-OAEP-256": lambda: padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
    "RSA-OAEP": lambda: padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),
    "RSA1_5": padding.PKCS1v15,
}
API_VERSION = re.compile(r"7\.[0-9](-preview\.\d+)?|2025-0[0-9]-01(-preview\.\d+)?")


class Refused(Exception):
    """An answer that is an error, as the service words it."""

    def __init__(self, status, code, message, inner=None, headers=()):
        super().__init__(message)
        self.status, self.headers = status, dict(headers)
        self.body = {"error": {"code": code, "message": message}}
        if inner:
            self.body["error"]["innererror"] = {"code": inner}


def bad(message):
    return Refused(400, "BadParameter", message)


def decoded(body, name):
    try:
        return decode(body.get(name))
    except ValueError:
        raise bad(f"Content of '{name}' is not base64url.\r\nProperty '{name}' is required.\r\n") from None


class Version:
    """One version of a key."""

    def __init__(self, kty, material, key_ops, attributes):
        self.id = secrets.token_hex(16)
        self.kty, self.material, self.key_ops = kty, material, key_ops
        self.created = self.updated = int(time.time())
        self.enabled = True
        self.nbf = self.exp = None
        self.change(attributes)

    def change(self, attributes):
        self.enabled = attributes.get("enabled", self.enabled)
        self.nbf, self.exp = attributes.get("nbf", self.nbf), attributes.get("exp", self.exp)

    def attributes(self):
        all = {"enabled": self.enabled, "nbf": self.nbf, "exp": self.exp, "created": self.created,
               "updated": self.updated, "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90}
        return {name: value for name, value in all.items() if value is not None}

    def public(self):
        if self.kty.startswith("RSA"):
            numbers = self.material.public_key().public_numbers()
            return {"n": encode(number_bytes(numbers.n)), "e": encode(number_bytes(numbers.e))}
        if self.kty.startswith("EC"):
            numbers = self.material.public_key().public_numbers()
            return {"crv": "P-256", "x": encode(number_bytes(numbers.x)), "y": encode(number_bytes(numbers.y))}
        return {}


def number_bytes(number):
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


class Vault:
    """The keys, and who may do what with them.

    Two things the public sources disagree about are switches: the reference says that a disabled key is not usable for
    cryptographic operations, a report on the live service (Azure/azure-sdk-for-python#45342) that it still wraps.
    """

    def __init__(self, is_hsm):
        self.is_hsm = is_hsm
        self.audience = "https://localhost"  # the real ones: https://vault.azure.net, https://managedhsm.azure.net
        self.keys, self.deleted, self.denied = {}, {}, {}
        self.policies = {}
        self.faults = []
        self.answer_length = None
        self.clock_offset = 0
        self.wrap_while_disabled = False
        self.page = 25
        self.counters = collections.Counter()
        self.base = None

    # --- who may ---

    def allow(self, client, key, operations):
        self.denied[client, key] = None if operations is None else set(OPERATIONS) - set(operations)

    def action(self, operation):
        if "rotationpolicy" in operation and not self.is_hsm:
            return f"Microsoft.KeyVault/vaults/keyrotationpolicies/{'read' if operation.startswith('get') else 'write'}"
        if self.is_hsm:
            return f"Microsoft.KeyVault/managedHsm/keys/{HSM_OPERATIONS[operation]}"
        return f"Microsoft.KeyVault/vaults/keys/{OPERATIONS[operation]}"

    def check_permission(self, client, key, operation):
        if self.is_hsm and operation == "getrotationpolicy":
            operation = "get"  # the roles of a Managed HSM that are published name no other
        if operation not in (self.denied.get((client, key)) or self.denied.get((client, "*")) or ()):
            return
        action = self.action(operation)
        raise Refused(403, "Forbidden", "Caller is not authorized to perform action on resource.\r\nIf role assignments, "
                      "deny assignments or role definitions were changed recently, please observe propagation time.\r\n"
                      f"Caller: appid={client};oid={client};iss=https://sts.windows.net/{TENANT}/\r\nAction: '{action}'\r\n"
                      f"Resource: '/subscriptions/0/resourcegroups/test/providers/microsoft.keyvault/vaults/test/keys/{key}'"
                      "\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: 'DeniedWithNoValidRBAC' \r\n"
                      "Vault: test;location=nowhere\r\n", "ForbiddenByRbac")

    def take_fault(self, operation):
        for fault in self.faults:
            if not fault.get("operations") or operation in fault["operations"]:
                fault["count"] -= 1
                if fault["count"] == 0:
                    self.faults.remove(fault)
                status = fault.get("status", 429)
                code, message = {429: ("Throttled", "Request was not processed because too many requests were received. "
                                       "Reason: VaultRequestTypeLimitReached"),
                                 503: ("ServiceUnavailable", "The service is temporarily unavailable.")}.get(
                                     status, ("InternalServerError", "An internal error occurred."))
                after = fault.get("retry_after")
                raise Refused(status, fault.get("code", code), fault.get("message", message), fault.get("inner"),
                              {} if after is None else {"Retry-After": str(after)})

    # --- what there is ---

    def versions(self, name, id=None):
        if name not in self.keys or id and all(version.id != id for version in self.keys[name]):
            shown = f"{name}/{id}" if id else name
            raise Refused(404, "KeyNotFound", f"A key with (name/id) {shown} was not found in this key vault. If you recently "
                          "deleted this key you may be able to recover it using the correct recovery command. For help "
                          "resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182")
        return self.keys[name]

    def version(self, name, id):
        return next(version for version in reversed(self.versions(name, id)) if id in (None, version.id))

    def kid(self, name, version):
        return f"{self.base}/keys/{name}/{version.id}"

    def bundle(self, name, version):
        key = {"kid": self.kid(name, version), "kty": version.kty, "key_ops": version.key_ops}
        return {"key": key | version.public(), "attributes": version.attributes(), "tags": {}}

    def deleted_bundle(self, name):
        versions, deleted = self.deleted[name]
        return self.bundle(name, versions[-1]) | {"recoveryId": f"{self.base}/deletedkeys/{name}", "deletedDate": deleted,
                                                  "scheduledPurgeDate": deleted + 90 * 86400}

    # --- what can be done ---

    def create(self, name, body):
        if not re.fullmatch(r"[0-9a-zA-Z-]{1,127}", name):
            raise bad(f"The request URI contains an invalid name: {name}")
        if name in self.deleted:
            raise Refused(409, "Conflict", f"Key {name} is currently in a deleted but recoverable state, and its name cannot be "
                          "reused; in this state, the key can only be recovered or purged.", "ObjectIsDeletedButRecoverable")
        kty, size = body.get("kty"), body.get("key_size")
        operations = ["encrypt", "decrypt", "wrapKey", "unwrapKey"]
        if kty in ("RSA", "RSA-HSM"):
            if (size := size or 2048) not in (2048, 3072, 4096):
                raise bad(f"The specified RSA key size {size} is not supported.")
            material, operations = rsa.generate_private_key(65537, size), operations + ["sign", "verify"]
        elif kty in ("EC", "EC-HSM"):
            material, operations = ec.generate_private_key(ec.SECP256R1()), ["sign", "verify"]
        elif kty == "oct-HSM" and self.is_hsm:
            if (size := size or 256) not in (128, 192, 256):
                raise bad(f"The specified key size {size} is not supported.")
            material = secrets.token_bytes(size // 8)
        else:
            raise bad("Property 'kty' has an invalid value or is not supported by this resource.")
        version = Version(kty, material, body.get("key_ops") or operations, body.get("attributes") or {})
        self.keys.setdefault(name, []).append(version)
        return self.bundle(name, version)

    def rotate(self, name):
        last = self.version(name, None)
        size = len(last.material) * 8 if last.kty == "oct-HSM" else getattr(last.material, "key_size", None)
        return self.create(name, {"kty": last.kty, "key_size": size, "key_ops": last.key_ops})

    def rotation_policy(self, name, body=None):
        """The reference: a policy that was never set only notifies. Nobody rotates by it here."""
        self.version(name, None)
        now = int(time.time())
        if body is not None:
            attributes = {"expiryTime": (body.get("attributes") or {}).get("expiryTime"), "created": now, "updated": now}
            self.policies[name] = {"lifetimeActions": body.get("lifetimeActions") or [], "attributes": attributes}
        notify = [{"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}]
        policy = self.policies.get(name, {"lifetimeActions": notify, "attributes": {}})
        return {"id": f"{self.base}/keys/{name}/rotationpolicy"} | policy

    def update(self, name, id, body):
        version = self.version(name, id)
        version.change(body.get("attributes") or {})
        version.key_ops = body.get("key_ops") or version.key_ops
        version.updated = int(time.time())
        return self.bundle(name, version)

    def list_versions(self, name, query):
        versions = sorted(self.versions(name), key=lambda version: version.id)  # in no order of time
        size, start = min(int(query.get("maxresults", self.page)), self.page), int(query.get("$skiptoken", 0))
        items = [{"kid": self.kid(name, version), "attributes": version.attributes()} for version in versions[start:start + size]]
        more = start + size < len(versions)
        link = f"{self.base}/keys/{name}/versions?api-version={query['api-version']}&$skiptoken={start + size}&maxresults={size}"
        return {"value": items, "nextLink": link if more else None}

    def delete(self, name):
        self.deleted[name] = (self.versions(name), int(time.time()))
        del self.keys[name]
        return self.deleted_bundle(name)

    def recover(self, name):
        self.keys[name] = self.deleted.pop(name)[0]
        return self.bundle(name, self.keys[name][-1])

    def crypto(self, name, id, operation, body):
        version = self.version(name, id)
        if not version.enabled and not (self.wrap_while_disabled and operation in ("encrypt", "wrapKey")):
            raise Refused(403, "Forbidden", f"Operation {operation} is not allowed on a disabled key.", "KeyDisabled")
        now = time.time() + self.clock_offset
        inside = (version.nbf or 0) <= now < (version.exp or float("inf"))
        if not inside and operation in ("encrypt", "wrapKey"):  # decrypting goes on, says the reference
            raise Refused(403, "Forbidden", f"Operation {operation} is not allowed on a key that is expired or not yet valid.",
                          "KeyNotYetValidOrExpired")
        if operation not in version.key_ops:
            raise Refused(403, "Forbidden", f"Operation {operation} is not permitted on this key.", "KeyOperationForbidden")
        value, algorithm = decoded(body, "value"), body.get("alg")
        forwards = operation in ("encrypt", "wrapKey")
        answer = {"kid": self.kid(name, version), "alg": algorithm}
        if version.kty.startswith("RSA") and algorithm in RSA_PADDINGS:
            pad = RSA_PADDINGS[algorithm]()
            result = run(lambda: version.material.public_key().encrypt(value, pad) if forwards else version.material.decrypt(value, pad))
        elif version.kty == "oct-HSM" and algorithm == f"A{len(version.material) * 8}GCM" and operation in ("encrypt", "decrypt"):
            if forwards and "iv" in body:
                raise bad("Property 'iv' must not be given: the service chooses it.")
            iv = secrets.token_bytes(12) if forwards else decoded(body, "iv")
            tag = b"" if forwards else decoded(body, "tag")
            if len(iv) != 12 or not forwards and len(tag) != 16:
                raise bad("Property 'iv' or 'tag' has an invalid length.")
            aad, cipher = decoded({"aad": ""} | body, "aad"), AESGCM(version.material)
            result = run(lambda: cipher.encrypt(iv, value, aad) if forwards else cipher.decrypt(iv, value + tag, aad))
            if forwards:
                answer |= {"iv": encode(iv), "tag": encode(result[-16:])}
                result = result[:-16]
        elif version.kty == "oct-HSM" and algorithm == f"A{len(version.material) * 8}KW" and operation in ("wrapKey", "unwrapKey"):
            result = run(lambda: keywrap.aes_key_wrap(version.material, value) if forwards else keywrap.aes_key_unwrap(version.material, value))
        else:
            raise bad("Key and signing algorithm are incompatible." if algorithm else "Property 'alg' is required.")
        if not forwards and self.answer_length is not None:
            result = (result + bytes(self.answer_length))[:self.answer_length]
        return answer | {"value": encode(result)}


def run(cipher):
    try:
        return cipher()
    except (ValueError, InvalidTag, keywrap.InvalidUnwrap):
        raise bad("Unable to decrypt specified value with this key.") from None


class Handler(BaseHTTPRequestHandler):
    """What both ports have in common: JSON in and out over connections that stay open."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "", ""
    disable_nagle_algorithm = True

    def answer(self, status, body=None, headers=()):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(data))}.items() | dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def read(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def handle_all(self):
        body = self.read()
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        self.respond([urllib.parse.unquote(part) for part in url.path.split("/")[1:]], query, body)
        with vault_lock:
            keep(self.server.state, (self.server.vault, self.server.entra))

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = handle_all


class VaultHandler(Handler):
    """The vault, and under the same name Entra ID."""

    def respond(self, path, query, body):
        vault, entra = self.server.vault, self.server.entra
        with vault_lock:
            if path[1:] == ["oauth2", "v2.0", "token"] and self.command == "POST":
                vault.counters["log in"] += 1
                form = dict(urllib.parse.parse_qsl(body.decode()))
                return self.answer(*entra.log_in(path[0], form))
            if "openid-configuration" in path or path[:2] == ["common", "discovery"]:
                return self.answer(*self.discovery(path))
        operation, name, id = None, None, None
        try:
            operation, name, id = self.route(path)
            with vault_lock:
                vault.counters["requests"] += 1
                client = self.authenticate()
                if not API_VERSION.fullmatch(query.get("api-version", "")):
                    raise bad("api-version must be specified")
                vault.counters[operation] += 1
                vault.take_fault(operation)
                vault.check_permission(client, name, operation)
            self.answer(*self.perform(operation, name, id, query, body))
        except Refused as refused:
            self.answer(refused.status, refused.body, refused.headers)

    def authenticate(self):
        vault, entra = self.server.vault, self.server.entra
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        try:
            if scheme.lower() != "bearer":
                raise ValueError("AKV10000: Request is missing a Bearer or PoP token.")
            return entra.client_of(token.strip(), vault.audience, time.time() + vault.clock_offset)
        except ValueError as reason:
            vault.counters["unauthorized"] += 1
            challenge = f'Bearer authorization="{vault.base}/{TENANT}", resource="{vault.audience}"'
            raise Refused(401, "Unauthorized", str(reason), headers={"WWW-Authenticate": challenge}) from None

    def route(self, path):
        """The operation, the key and, if one is named, its version."""
        while path and path[-1] == "":
            path = path[:-1]
        container, name, rest = path[0] if path else "", path[1] if len(path) > 1 else None, path[2:]
        last = rest[-1].lower() if rest else ""
        match (self.command, container, len(rest)):
            case ("GET", "keys", 0) if name:
                return "get", name, None
            case ("GET", "keys", 1) if last == "versions":
                return "list", name, None
            case ("GET" | "PUT", "keys", 1) if last == "rotationpolicy":
                return ("get" if self.command == "GET" else "update") + last, name, None
            case ("GET", "keys", 1):
                return "get", name, rest[0]
            case ("PATCH", "keys", 1):
                return "update", name, rest[0]
            case ("DELETE", "keys", 0) if name:
                return "delete", name, None
            case ("POST", "keys", 1) if last in ("create", "rotate"):
                return last, name, None
            case ("POST", "keys", 1 | 2) if last in CRYPTO:
                return CRYPTO[last], name, rest[0] if len(rest) == 2 and rest[0] else None
            case ("GET", "deletedkeys", 0) if name:
                return "get", name, "deleted"
            case ("POST", "deletedkeys", 1) if last == "recover":
                return "recover", name, None
            case ("DELETE", "deletedkeys", 0) if name:
                return "purge", name, None
        raise Refused(404, "NotFound", f"{self.command} {self.path} is no operation of this server.")

    def perform(self, operation, name, id, query, body):
        vault = self.server.vault
        try:
            body = json.loads(body) if body else {}
        except ValueError:
            raise bad("The request body is not valid JSON.") from None
        if operation == "create":  # drawing an RSA key takes long
            return 200, vault.create(name, body)
        with vault_lock:
            if operation in CRYPTO.values():
                return 200, vault.crypto(name, id, operation, body)
            if operation in ("recover", "purge") or id == "deleted":
                if name not in vault.deleted:
                    raise Refused(404, "KeyNotFound", f"Deleted Key not found: {name}")
                if operation == "purge":
                    del vault.deleted[name]
                    return 204, None
                return 200, vault.recover(name) if operation == "recover" else vault.deleted_bundle(name)
            match operation:
                case "get":
                    return 200, vault.bundle(name, vault.version(name, id))
                case "list":
                    return 200, vault.list_versions(name, query)
                case "update":
                    return 200, vault.update(name, id, body)
                case "rotate":
                    return 200, vault.rotate(name)
                case "getrotationpolicy":
                    return 200, vault.rotation_policy(name)
                case "updaterotationpolicy":
                    return 200, vault.rotation_policy(name, body)
                case "delete":
                    return 200, vault.delete(name)

    def discovery(self, path):
        """What Microsoft's login libraries ask an authority for before they log in."""
        base = self.server.vault.base
        if path[0] == "common":
            host = base.removeprefix("https://")
            return 200, {"tenant_discovery_endpoint": f"{base}/{TENANT}/v2.0/.well-known/openid-configuration",
                         "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}]}
        return 200, {"token_endpoint": f"{base}/{path[0]}/oauth2/v2.0/token", "issuer": f"{base}/{path[0]}/v2.0",
                     "authorization_endpoint": f"{base}/{path[0]}/oauth2/v2.0/authorize"}

    def log_message(self, format, *arguments):
        if os.environ.get("LOG_REQUESTS"):
            super().log_message(format, *arguments)


class ControlHandler(Handler):
    """HTTP: the instance metadata service, and the hands of the tests."""

    def respond(self, path, query, body):
        vault, entra = self.server.vault, self.server.entra
        with vault_lock:
            if path[:2] == ["metadata", "identity"]:
                vault.counters["managed identity"] += 1
                return self.answer(*entra.managed_identity(query, self.headers.get("Metadata")))
            order = json.loads(body) if body else {}
            match (self.command, path):
                case ("GET", ["control", "counters"]):
                    return self.answer(200, vault.counters)
                case ("POST", ["control", "counters"]):
                    vault.counters.clear()
                case ("POST", ["control", "identity"]):
                    entra.identity(order)
                case ("POST", ["control", "allow"]):
                    allowed = order.get("operations")
                    if "actions" in order:
                        allowed = [operation for operation in OPERATIONS if vault.action(operation) in order["actions"]]
                    vault.allow(order.get("client", CLIENT), order.get("key", "*"), allowed)
                case ("POST", ["control", "fault"]):
                    vault.faults.append(order)
                case ("POST", ["control", "answer"]):
                    vault.answer_length = order["length"]
                case ("POST", ["control", "tokens"]):
                    entra.lifetime = order["lifetime"]
                case ("POST", ["control", "clock"]):
                    vault.clock_offset = order["offset"]
                case ("POST", ["control", "revoke"]):
                    entra.revoked_before = entra.serial
                case ("POST", ["control", "quirks"]):
                    vault.wrap_while_disabled = order.get("wrap_while_disabled", vault.wrap_while_disabled)
                    vault.page = order.get("page", vault.page)
                case _:
                    return self.answer(404, {"error": f"no such command: {self.path}"})
        self.answer(200, {})

    log_message = VaultHandler.log_message


vault_lock = threading.RLock()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port, handler, vault, entra, state, tls=None):
        self.vault, self.entra, self.state, self.tls = vault, entra, state, tls
        super().__init__(("127.0.0.1", port), handler)

    def finish_request(self, request, client_address):
        """The handshake is made on the connection's own thread: a client that stalls in it keeps nobody waiting."""
        if self.tls:
            try:
                request = self.tls.wrap_socket(request, server_side=True)
            except OSError:
                return  # the client does not like our certificate, or has gone
        super().finish_request(request, client_address)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), OSError):  # the client went away
            super().handle_error(request, client_address)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--hsm", action="store_true", help="a Managed HSM instead of a vault")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--plain-port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--state", type=Path, help="a file to remember everything in")
    parser.add_argument("--until-eof", action="store_true", help="end with the standard input")
    arguments = parser.parse_args()
    if not (arguments.directory / "server.pem").exists():
        make_certificates(arguments.directory)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.load_cert_chain(arguments.directory / "server.pem")
    vault, entra = recall(arguments.state) or (Vault(arguments.hsm), Entra())
    plain = Server(arguments.plain_port, VaultHandler, vault, entra, arguments.state)
    control = Server(arguments.control_port, ControlHandler, vault, entra, arguments.state)
    # Last: who can connect to it finds the others.
    front = Server(arguments.port, VaultHandler, vault, entra, arguments.state, tls)
    vault.base = f"https://localhost:{front.server_address[1]}"
    threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in (plain, control, front)]
    for thread in threads:
        thread.start()
    places = {"vault": vault.base, "plain": f"http://127.0.0.1:{plain.server_address[1]}",
              "control": f"http://127.0.0.1:{control.server_address[1]}", "ca": str(arguments.directory / "ca.pem"),
              "tenant": TENANT, "client": CLIENT, "secret": SECRET, "subject": SUBJECT}
    print(json.dumps(places), flush=True)
    if arguments.until_eof:
        sys.stdin.read()
    else:
        threads[0].join()


if __name__ == "__main__":
    main()
