#!/usr/bin/env python3
"""A test server that speaks the JSON protocol of AWS KMS, with the sources of credentials around it.

Written from the published API Reference and Developer Guide of AWS KMS, and checked with AWS's own Python client:
../official/aws_check.py. The emulators that can be installed let disabled keys work on, join the encryption context
without separators and know no permissions; this one keeps the rules. It holds keys in memory, and is not a stand-in for
anything but tests.

    aws_kms.py PORT

Under one port: AWS KMS (POST / with X-Amz-Target), AWS STS (POST / with a form) and a container's credentials
(GET /credentials). Requests are signed (Signature Version 4) and checked. Access keys, each with the secret
"secret-of-<access key>":
    ADMIN               may do everything; its signature is not looked at
    FULL                may do everything
    DENY<operation>     may do all but that (DENYReEncrypt: neither ReEncryptFrom nor ReEncryptTo)
    ONLY.<operation>... may do only these, each led by a dot
    EXPIRED             has expired
    SKEWED              meets a server whose clock is a day ahead
    ASSUMED..., CONTAINER...   given by STS and by /credentials, with the session token "token-of-<access key>"
The session "flink" may assume "role/flink"; GET /counts tells how often which operation was called.
"""

import hashlib
import hmac
import json
import secrets
import sys
import threading
import time
from base64 import b64decode, b64encode
from calendar import timegm
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs
from uuid import UUID, uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ACCOUNT = "111122223333"
MAX_PLAINTEXT, MAX_CIPHERTEXT, MAX_CONTEXT = 4096, 6144, 8192
ON_DEMAND_ROTATIONS = 25
ROTATION_TAKES = 0.3
SKEW = 5 * 60


class ApiError(Exception):
    def __init__(self, code, message=None, status=400):
        super().__init__(code)
        self.code, self.message, self.status = code, message, status


class Material:
    def __init__(self, rotated_at=None):
        self.id = secrets.token_hex(32)
        self.secret = AESGCM(secrets.token_bytes(32))
        self.rotated_at = rotated_at


class Key:
    """A key; the replicas of a multi-region key share the list of materials."""

    def __init__(self, region, request, primary=None):
        multi = bool(request.get("MultiRegion"))
        self.region = region
        self.id = primary.id if primary else f"mrk-{uuid4().hex}" if multi else str(uuid4())
        self.usage = request.get("KeyUsage", "ENCRYPT_DECRYPT")
        self.spec = request.get("KeySpec", "SYMMETRIC_DEFAULT")
        self.state, self.created_at = "Enabled", time.time()
        self.materials = primary.materials if primary else [Material()]
        self.rotation_began = self.deletion_at = None
        self.rotation_period = None  # days, where it rotates by itself
        self.is_replica = primary is not None
        # Whoever looks on while a rotation goes on asks for time enough to do so.
        self.rotation_takes = 3 if request.get("Description") == "rotates slowly" else ROTATION_TAKES

    @property
    def arn(self):
        return f"arn:aws:kms:{self.region}:{ACCOUNT}:key/{self.id}"

    def current(self):
        """A rotation on demand goes on for a while after it was asked for."""
        if self.rotation_began and time.time() >= self.rotation_began + self.rotation_takes:
            self.materials.append(Material(rotated_at=self.rotation_began + self.rotation_takes))
            self.rotation_began = None
        return self.materials[-1]

    def describe(self):
        about = {
            "AWSAccountId": ACCOUNT,
            "KeyId": self.id,
            "Arn": self.arn,
            "CreationDate": self.created_at,
            "Enabled": self.state == "Enabled",
            "Description": "",
            "KeyUsage": self.usage,
            "KeyState": self.state,
            "Origin": "AWS_KMS",
            "KeyManager": "CUSTOMER",
            "KeySpec": self.spec,
            "MultiRegion": self.id.startswith("mrk-"),
        }
        if self.spec == "SYMMETRIC_DEFAULT":
            about["EncryptionAlgorithms"] = ["SYMMETRIC_DEFAULT"]
            about["CurrentKeyMaterialId"] = self.current().id
        if self.state == "PendingDeletion":
            about["DeletionDate"] = self.deletion_at
        return about


class Kms:
    """The operations. Each takes the caller (access key and region) and the request."""

    def __init__(self):
        self.lock = threading.RLock()
        self.keys, self.aliases, self.counts = {}, {}, {}

    def call(self, caller, operation, request):
        method = getattr(self, f"do_{operation}", None)
        if method is None:
            raise ApiError("UnknownOperationException")
        with self.lock:
            self.counts[operation] = self.counts.get(operation, 0) + 1
            return method(caller, request)

    # Finding a key, and what keeps it from being used: permission first, then existence, state, usage.

    def find(self, caller, name, operation, aliases=True):
        if not name:
            raise ApiError("ValidationException", "1 validation error detected: Value null at 'keyId' failed")
        access_key, region = caller
        kind, _, rest = name.rpartition(":")
        if kind:
            parts = kind.split(":")
            if len(parts) != 5 or parts[:1] + parts[2:3] != ["arn", "kms"]:
                raise ApiError("InvalidArnException", "Invalid ARN")
            if parts[3] != region:
                raise ApiError("NotFoundException", f"Invalid arn {parts[3]}")
            if parts[4] != ACCOUNT:
                raise self.denied(access_key, operation, "this resource because the resource does not exist in this "
                                  "Region, no resource-based policies allow access, or a resource-based policy "
                                  "explicitly denies access")
            name = rest.removeprefix("key/")
        if name.startswith("alias/"):
            if not aliases:
                raise ApiError("InvalidArnException", "Key Aliases are not supported for this operation")
            target = self.aliases.get((region, name))
            if target is None:
                raise ApiError("NotFoundException", f"Alias arn:aws:kms:{region}:{ACCOUNT}:{name} is not found.")
            name = target
        key = self.keys.get((region, name))
        if key is None:
            raise ApiError("NotFoundException", f"Key 'arn:aws:kms:{region}:{ACCOUNT}:key/{name}' does not exist")
        self.permit(access_key, operation, key)
        return key

    def permit(self, access_key, operation, key):
        refused = access_key.removeprefix("DENY") if access_key.startswith("DENY") else None
        granted = access_key.split(".")[1:] if access_key.startswith("ONLY.") else None
        if (refused and operation in (refused, f"{refused}From", f"{refused}To")
                or granted is not None and operation not in granted):
            raise self.denied(access_key, operation, f"resource: {key.arn}")

    def denied(self, access_key, operation, what):
        return ApiError("AccessDeniedException", f"User: arn:aws:iam::{ACCOUNT}:user/{access_key} is not authorized to "
                        f"perform: kms:{operation} on {what}")

    def usable(self, key, operation):
        if key.state == "Disabled":
            raise ApiError("DisabledException", f"{key.arn} is disabled.")
        if key.state == "PendingDeletion":
            raise ApiError("KMSInvalidStateException", f"{key.arn} is pending deletion.")
        if key.usage != "ENCRYPT_DECRYPT":
            raise ApiError("InvalidKeyUsageException",
                           f"{key.arn} key usage is {key.usage} which is not valid for {operation}.")
        if key.spec != "SYMMETRIC_DEFAULT":
            raise ApiError("InvalidKeyUsageException", f"{key.arn} key spec {key.spec} is not valid for {operation}.")

    def dry(self, request):
        if request.get("DryRun"):
            raise ApiError("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.",
                           412)

    # Wrapping. A ciphertext is 1 || key id (16) || material id (32) || nonce (12) || AES-GCM, context and head bound.

    def wrap(self, key, plaintext, context):
        material, nonce = key.current(), secrets.token_bytes(12)
        head = b"\x01" + UUID(key.id.removeprefix("mrk-")).bytes + bytes.fromhex(material.id)
        return head + nonce + material.secret.encrypt(nonce, plaintext, head + bound(context))

    def unwrap(self, caller, request, prefix, operation):
        """The key, the material and the plaintext, or the dry run's end."""
        context = checked_context(request.get(f"{prefix}EncryptionContext"))
        name = request.get("SourceKeyId" if prefix else "KeyId")
        blind = "IGNORE_CIPHERTEXT" in request.get("DryRunModifiers", [])
        if blind and not request.get("DryRun"):
            raise ApiError("ValidationException", "DryRunModifiers is only valid with DryRun")
        if blind:
            self.usable(self.find(caller, name, operation), operation)
            return None, None, None
        blob = decoded(request, "CiphertextBlob", "ciphertextBlob", MAX_CIPHERTEXT)
        named = self.find(caller, name, operation) if name else None
        key = next((key for (region, key_id), key in self.keys.items() if region == caller[1] and len(blob) > 61
                    and blob[0] == 1 and UUID(key_id.removeprefix("mrk-")).bytes == blob[1:17]), None)
        if key is None:
            raise ApiError("InvalidCiphertextException")
        if named and named is not key:
            raise ApiError("IncorrectKeyException",
                           "The key ID in the request does not identify a KMS key that can perform this operation")
        self.permit(caller[0], operation, key)
        self.usable(key, operation)
        material = next((known for known in key.materials if known.id == blob[17:49].hex()), None)
        try:
            plaintext = material.secret.decrypt(blob[49:61], blob[61:], blob[:49] + bound(context))
        except (AttributeError, InvalidTag):
            raise ApiError("InvalidCiphertextException") from None
        return key, material, plaintext

    def do_Encrypt(self, caller, request):
        plaintext = decoded(request, "Plaintext", "plaintext", MAX_PLAINTEXT)
        context = checked_context(request.get("EncryptionContext"))
        key = self.find(caller, request.get("KeyId"), "Encrypt")
        self.usable(key, "Encrypt")
        self.dry(request)
        blob = self.wrap(key, plaintext, context)
        return {"CiphertextBlob": encoded(blob), "KeyId": key.arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}

    def do_Decrypt(self, caller, request):
        key, material, plaintext = self.unwrap(caller, request, "", "Decrypt")
        self.dry(request)
        return {"KeyId": key.arn, "Plaintext": encoded(plaintext), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
                "KeyMaterialId": material.id}

    def do_GenerateDataKey(self, caller, request):
        length = {"AES_256": 32, "AES_128": 16}.get(request.get("KeySpec"), request.get("NumberOfBytes"))
        if not isinstance(length, int) or not 1 <= length <= 1024:
            raise ApiError("ValidationException", "Please specify either number of bytes or key spec.")
        context = checked_context(request.get("EncryptionContext"))
        key = self.find(caller, request.get("KeyId"), "GenerateDataKey")
        self.usable(key, "GenerateDataKey")
        self.dry(request)
        plaintext = secrets.token_bytes(length)
        return {"CiphertextBlob": encoded(self.wrap(key, plaintext, context)), "Plaintext": encoded(plaintext),
                "KeyId": key.arn, "KeyMaterialId": key.current().id}

    def do_ReEncrypt(self, caller, request):
        source, material, plaintext = self.unwrap(caller, request, "Source", "ReEncryptFrom")
        context = checked_context(request.get("DestinationEncryptionContext"))
        target = self.find(caller, request.get("DestinationKeyId"), "ReEncryptTo")
        self.usable(target, "ReEncryptTo")
        self.dry(request)
        return {"CiphertextBlob": encoded(self.wrap(target, plaintext, context)), "SourceKeyId": source.arn,
                "KeyId": target.arn, "SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
                "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT", "SourceKeyMaterialId": material.id,
                "DestinationKeyMaterialId": target.current().id}

    # Keys, their state and their materials.

    def do_CreateKey(self, caller, request):
        key = Key(caller[1], request)
        self.keys[(key.region, key.id)] = key
        return {"KeyMetadata": key.describe()}

    def do_ReplicateKey(self, caller, request):
        primary = self.find(caller, request.get("KeyId"), "ReplicateKey")
        if not primary.id.startswith("mrk-"):
            raise ApiError("UnsupportedOperationException")
        replica = Key(request["ReplicaRegion"], {}, primary)
        self.keys[(replica.region, replica.id)] = replica
        return {"ReplicaKeyMetadata": replica.describe()}

    def do_CreateAlias(self, caller, request):
        key = self.find(caller, request.get("TargetKeyId"), "CreateAlias", aliases=False)
        if (caller[1], request["AliasName"]) in self.aliases:
            raise ApiError("AlreadyExistsException")
        self.aliases[(caller[1], request["AliasName"])] = key.id

    def do_UpdateAlias(self, caller, request):
        key = self.find(caller, request.get("TargetKeyId"), "UpdateAlias", aliases=False)
        self.aliases[(caller[1], request["AliasName"])] = key.id

    def do_DescribeKey(self, caller, request):
        return {"KeyMetadata": self.find(caller, request.get("KeyId"), "DescribeKey").describe()}

    def do_DisableKey(self, caller, request):
        self.switch(caller, request, "DisableKey", "Disabled")

    def do_EnableKey(self, caller, request):
        self.switch(caller, request, "EnableKey", "Enabled")

    def switch(self, caller, request, operation, state):
        key = self.find(caller, request.get("KeyId"), operation, aliases=False)
        if key.state == "PendingDeletion":
            raise ApiError("KMSInvalidStateException", f"{key.arn} is pending deletion.")
        key.state = state

    def do_ScheduleKeyDeletion(self, caller, request):
        key = self.find(caller, request.get("KeyId"), "ScheduleKeyDeletion", aliases=False)
        if key.state == "PendingDeletion":
            raise ApiError("KMSInvalidStateException", f"{key.arn} is pending deletion.")
        days = request.get("PendingWindowInDays", 30)
        if not isinstance(days, int) or not 7 <= days <= 30:
            raise ApiError("ValidationException", f"1 validation error detected: Value '{days}' at 'pendingWindowInDays' "
                           "failed to satisfy constraint: Member must have value between 7 and 30")
        key.state, key.deletion_at = "PendingDeletion", time.time() + days * 86_400
        return {"KeyId": key.arn, "KeyState": key.state, "DeletionDate": key.deletion_at, "PendingWindowInDays": days}

    def do_CancelKeyDeletion(self, caller, request):
        key = self.find(caller, request.get("KeyId"), "CancelKeyDeletion", aliases=False)
        if key.state != "PendingDeletion":
            raise ApiError("KMSInvalidStateException", f"{key.arn} is not pending deletion.")
        key.state = "Disabled"
        return {"KeyId": key.arn}

    def do_RotateKeyOnDemand(self, caller, request):
        key = self.find(caller, request.get("KeyId"), "RotateKeyOnDemand", aliases=False)
        if key.spec != "SYMMETRIC_DEFAULT" or key.is_replica:
            raise ApiError("UnsupportedOperationException", f"{key.arn} cannot be rotated on demand.")
        self.usable(key, "RotateKeyOnDemand")
        key.current()
        if key.rotation_began:
            raise ApiError("ConflictException", f"{key.arn} is being rotated.")
        if len(key.materials) > ON_DEMAND_ROTATIONS:
            raise ApiError("LimitExceededException", "The on-demand rotation limit of the key has been reached.")
        key.rotation_began = time.time()
        return {"KeyId": key.arn}

    def do_GetKeyRotationStatus(self, caller, request):
        key = self.find(caller, request.get("KeyId"), "GetKeyRotationStatus", aliases=False)
        key.current()
        status = {"KeyId": key.arn, "KeyRotationEnabled": key.rotation_period is not None}
        if key.rotation_period is not None:
            status |= {"RotationPeriodInDays": key.rotation_period}
        return status | ({"OnDemandRotationStartDate": key.rotation_began} if key.rotation_began else {})

    def do_EnableKeyRotation(self, caller, request):
        """Nobody rotates by it here: AWS KMS waits for 90 days at the least."""
        key = self.find(caller, request.get("KeyId"), "EnableKeyRotation", aliases=False)
        key.rotation_period = request.get("RotationPeriodInDays", 365)
        if not 90 <= key.rotation_period <= 2560:
            raise ApiError("ValidationException", "RotationPeriodInDays must be from 90 to 2560.")
        return {}

    def do_ListKeyRotations(self, caller, request):
        key = self.find(caller, request.get("KeyId"), "ListKeyRotations", aliases=False)
        if key.spec != "SYMMETRIC_DEFAULT":
            raise ApiError("UnsupportedOperationException", f"{key.arn} has no rotations.")
        current, first = key.current(), int(request.get("Marker", 0))
        every = request.get("IncludeKeyMaterial") == "ALL_KEY_MATERIAL"
        listed = [material for material in reversed(key.materials) if every or material.rotated_at]
        page = listed[first:first + request.get("Limit", 2)]  # small pages by default, so that all clients meet a second
        entries = []
        for material in page:
            state = "CURRENT" if material is current else "NON_CURRENT"
            entry = {"KeyId": key.arn, "KeyMaterialId": material.id, "KeyMaterialState": state}
            if material.rotated_at:
                entry |= {"RotationDate": material.rotated_at, "RotationType": "ON_DEMAND"}
            entries.append(entry)
        after = first + len(page)
        more = {"Truncated": True, "NextMarker": str(after)} if after < len(listed) else {"Truncated": False}
        return {"Rotations": entries} | more


def bound(context):
    return json.dumps(context, sort_keys=True).encode()


def checked_context(context):
    context = context or {}
    if not all(isinstance(text, str) for pair in context.items() for text in pair):
        raise ApiError("SerializationException")
    if len(json.dumps(context)) > MAX_CONTEXT:
        raise ApiError("ValidationException", "The encryption context is too long")
    return context


def decoded(request, field, name, most):
    data = b64decode(request.get(field) or "", validate=True)
    if not 1 <= len(data) <= most:
        raise ApiError("ValidationException", f"1 validation error detected: Value at '{name}' failed to satisfy "
                       f"constraint: Member must have length between 1 and {most}")
    return data


def encoded(data):
    return b64encode(data).decode()


class Signatures:
    """Signature Version 4, as the IAM User Guide describes it; the path is / and there is no query."""

    @staticmethod
    def caller(method, path, headers, body, service):
        """Who signed this, and for which region."""
        scheme, _, fields = headers.get("Authorization", "").partition(" ")
        fields = dict(field.strip().split("=", 1) for field in fields.split(",") if "=" in field)
        if scheme != "AWS4-HMAC-SHA256" or "Credential" not in fields:
            raise ApiError("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
        access_key, date, region, signed_for, _ = fields["Credential"].split("/")
        if access_key == "ADMIN":
            return access_key, region
        known = ("FULL", "DENY", "ONLY.", "EXPIRED", "SKEWED", "ASSUMED", "CONTAINER")
        token = headers.get("X-Amz-Security-Token")
        given = access_key.startswith(("ASSUMED", "CONTAINER"))
        if not access_key.startswith(known) or (given and token != f"token-of-{access_key}"):
            raise ApiError("UnrecognizedClientException", "The security token included in the request is invalid.")
        if access_key == "EXPIRED":
            raise ApiError("ExpiredTokenException", "The security token included in the request is expired")
        names = fields["SignedHeaders"].split(";")
        canonical = "\n".join([method, path, "", *[f"{name}:{' '.join(headers[name].split())}" for name in names], "",
                               fields["SignedHeaders"], hashlib.sha256(body).hexdigest()])
        stamp = headers["X-Amz-Date"]
        scope = f"{date}/{region}/{signed_for}/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = f"AWS4secret-of-{access_key}".encode()
        for part in (date, region, signed_for, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        if signed_for != service or not hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(),
                                                            fields["Signature"]):
            raise ApiError("InvalidSignatureException", "The request signature we calculated does not match the signature "
                           "you provided. Check your AWS Secret Access Key and signing method. Consult the service "
                           "documentation for details.")
        signed_at = timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
        now = time.time() + (86_400 if access_key == "SKEWED" else 0)
        if abs(now - signed_at) > SKEW:
            form = "%Y%m%dT%H%M%SZ"
            oldest, clock = (time.strftime(form, time.gmtime(at)) for at in (now - SKEW, now))
            raise ApiError("InvalidSignatureException",
                           f"Signature expired: {stamp} is now earlier than {oldest} ({clock} - 5 min.)")
        return access_key, region


class Sts:
    """Roles: FULL may assume "role/flink", and so may the web identity "good-web-identity"."""

    def __init__(self):
        self.given = 0

    def call(self, form, headers, body):
        action, role = form.get("Action"), form.get("RoleArn", "")
        if action == "AssumeRole":
            caller, _ = Signatures.caller("POST", "/", headers, body, "sts")
        elif action == "AssumeRoleWithWebIdentity":
            caller = "web identity"
            if form.get("WebIdentityToken") == "expired-web-identity":
                raise ApiError("ExpiredTokenException", "Token expired")
            if form.get("WebIdentityToken") != "good-web-identity":
                raise ApiError("InvalidIdentityToken", "The token is not valid")
        else:
            raise ApiError("InvalidAction", "Could not find operation")
        if not role.endswith(":role/flink"):
            raise ApiError("AccessDenied", f"User: {caller} is not authorized to perform: sts:{action} on resource: {role}",
                           403)
        self.given += 1
        key = f"ASSUMED{self.given}"
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        return (f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><AssumedRoleUser>'
                f"<AssumedRoleId>AROA:s</AssumedRoleId><Arn>arn:aws:sts::{ACCOUNT}:assumed-role/flink/s</Arn>"
                f"</AssumedRoleUser><Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret-of-{key}"
                f"</SecretAccessKey><SessionToken>token-of-{key}</SessionToken><Expiration>{end}</Expiration></Credentials>"
                f"</{action}Result></{action}Response>")


KMS, STS = Kms(), Sts()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/counts":
            self.answer(200, "application/json", json.dumps(KMS.counts | {"CredentialsGiven": STS.given}))
        elif self.path == "/credentials" and self.headers.get("Authorization") == "container-token":
            STS.given += 1
            key = f"CONTAINER{STS.given}"
            end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
            self.answer(200, "application/json", json.dumps({
                "AccessKeyId": key, "SecretAccessKey": f"secret-of-{key}", "Token": f"token-of-{key}", "Expiration": end}))
        else:
            self.answer(404, "text/plain", "there is nothing here")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        target = self.headers.get("X-Amz-Target", "")
        if not target:
            return self.sts(body)
        try:
            caller = Signatures.caller("POST", self.path, self.headers, body, "kms")
            service, _, operation = target.partition(".")
            if service != "TrentService":
                raise ApiError("UnknownOperationException")
            answer = KMS.call(caller, operation, json.loads(body or "{}"))
            self.answer(200, "application/x-amz-json-1.1", "" if answer is None else json.dumps(answer))
        except ApiError as error:
            said = {"__type": error.code} | ({"message": error.message} if error.message else {})
            self.answer(error.status, "application/x-amz-json-1.1", json.dumps(said))

    def sts(self, body):
        try:
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            self.answer(200, "text/xml", STS.call(form, self.headers, body))
        except ApiError as error:
            self.answer(error.status, "text/xml", '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
                        f"<Type>Sender</Type><Code>{error.code}</Code><Message>{error.message}</Message></Error>"
                        "<RequestId>1</RequestId></ErrorResponse>")

    def answer(self, status, kind, text):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, form, *arguments):
        print(self.headers.get("X-Amz-Target", self.path) if hasattr(self, "headers") else "-", form % arguments,
              file=sys.stderr)


if __name__ == "__main__":
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.request_queue_size = 256
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
