"""Key rings, keys and versions, as https://cloud.google.com/kms/docs/reference/rest/v1 describes them.

Messages are the ones that the service was seen to give, as far as they are publicly reported; elsewhere only the
status is the published one and the words are ours.
"""

import os
import re
import struct
from datetime import datetime, timedelta, timezone

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import ApiError, invalid, not_enabled, not_found

LIMIT = 64 * 1024
HSM_LIMIT = 8 * 1024
DESTROY_AFTER = timedelta(days=30)
LOCATIONS = ("global", "europe-west1", "us-east1")
SEGMENT = r"[a-zA-Z0-9_-]{1,63}"
KEY_NAME = re.compile(rf"projects/([^/]+)/locations/([^/]+)/keyRings/({SEGMENT})/cryptoKeys/({SEGMENT})\Z")
ALGORITHMS = {"ENCRYPT_DECRYPT": "GOOGLE_SYMMETRIC_ENCRYPTION", "ASYMMETRIC_SIGN": "EC_SIGN_P256_SHA256"}


class Version:
    def __init__(self, name, template, now):
        self.name, self.template, self.created = name, template, now
        self.state, self.material = "ENABLED", AESGCM.generate_key(256)
        self.destroy_at = self.destroyed_at = None

    def resource(self):
        resource = {
            "name": self.name,
            "state": self.state,
            "createTime": timestamp(self.created),
            "generateTime": timestamp(self.created),
            **self.template,
        }
        if self.state == "DESTROY_SCHEDULED":
            resource["destroyTime"] = timestamp(self.destroy_at)
        if self.state == "DESTROYED":
            resource["destroyEventTime"] = timestamp(self.destroyed_at)
        return resource

    def usable(self):
        if self.state != "ENABLED":
            raise not_enabled(self.name, self.state)
        return self

    def update(self, state):
        """What patch may do: ENABLED to DISABLED and back."""
        if state not in ("ENABLED", "DISABLED"):
            raise invalid(f"CryptoKeyVersion.state cannot be updated to {state}.")
        if self.state not in ("ENABLED", "DISABLED"):
            raise not_enabled(self.name, self.state)
        self.state = state

    def schedule_destruction(self, now):
        if self.state not in ("ENABLED", "DISABLED"):
            raise ApiError("FAILED_PRECONDITION", f"{self.name} cannot be destroyed, current state is: {self.state}.")
        self.state, self.destroy_at = "DESTROY_SCHEDULED", now + DESTROY_AFTER

    def restore(self):
        if self.state != "DESTROY_SCHEDULED":
            raise ApiError("FAILED_PRECONDITION", f"{self.name} cannot be restored, current state is: {self.state}.")
        self.state, self.destroy_at = "DISABLED", None

    def destroy(self, now):
        self.state, self.destroyed_at, self.material = "DESTROYED", now, None


class Key:
    def __init__(self, name, purpose, protection, now):
        if purpose not in ALGORITHMS:
            raise invalid(f"CryptoKey.purpose {purpose} is not supported by this server.")
        self.name, self.purpose, self.created = name, purpose, now
        self.template = {"protectionLevel": protection, "algorithm": ALGORITHMS[purpose]}
        self.id, self.versions, self.primary = os.urandom(16), {}, None
        self.rotation = self.next_rotation = None  # seconds, and when; nobody rotates by it here
        self.lagging = None  # the version that encrypts as long as nobody has heard of another primary one

    def add_version(self, now):
        number = len(self.versions) + 1
        version = Version(f"{self.name}/cryptoKeyVersions/{number}", self.template, now)
        self.versions[number] = version
        return version

    def version(self, number):
        if not number.isdecimal() or int(number) not in self.versions:
            raise not_found("CryptoKeyVersion", f"{self.name}/cryptoKeyVersions/{number}")
        return self.versions[int(number)]

    def resource(self):
        resource = {
            "name": self.name,
            "purpose": self.purpose,
            "createTime": timestamp(self.created),
            "versionTemplate": self.template,
            "destroyScheduledDuration": f"{int(DESTROY_AFTER.total_seconds())}s",
        }
        if self.primary is not None:
            resource["primary"] = self.primary.resource()
        if self.rotation is not None:
            resource |= {"rotationPeriod": f"{self.rotation}s", "nextRotationTime": timestamp(self.next_rotation)}
        return resource

    def set_primary(self, number):
        self.for_encryption()
        self.primary = self.version(number)

    def for_encryption(self):
        if self.purpose != "ENCRYPT_DECRYPT":
            raise ApiError(
                "FAILED_PRECONDITION",
                f"{self.name} has purpose {self.purpose}; this operation requires ENCRYPT_DECRYPT.",
            )
        return self

    def encrypt(self, plaintext, aad, number=None):
        self.for_encryption()
        self._limit(plaintext, aad)
        version = (self.lagging or self.primary) if number is None else self.version(number)
        if version is None:
            raise ApiError("FAILED_PRECONDITION", f"{self.name} has no primary version.")
        nonce = os.urandom(12)
        sealed = AESGCM(version.usable().material).encrypt(nonce, plaintext, aad)
        return version, HEAD.pack(MAGIC, self.id, int(version.name.rsplit("/", 1)[1])) + nonce + sealed

    def decrypt(self, ciphertext, aad):
        """The ciphertext finds its version; a wrong key, a wrong context and damage are INVALID_ARGUMENT alike."""
        self.for_encryption()
        if not ciphertext:
            raise invalid("The ciphertext is empty.")
        self._limit(b"", aad)
        if len(ciphertext) > LIMIT + OVERHEAD:
            raise invalid("The ciphertext is too large.")
        if len(ciphertext) < OVERHEAD or ciphertext[:2] != MAGIC:
            raise invalid("Decryption failed: the ciphertext is invalid.")
        _, key_id, number = HEAD.unpack_from(ciphertext)
        if key_id != self.id or number not in self.versions:
            raise invalid("Decryption failed: verify that 'name' refers to the correct CryptoKey.")
        version = self.versions[number].usable()
        nonce, sealed = ciphertext[HEAD.size : HEAD.size + 12], ciphertext[HEAD.size + 12 :]
        try:
            return version, AESGCM(version.material).decrypt(nonce, sealed, aad)
        except InvalidTag:
            raise invalid("Decryption failed: the ciphertext is invalid.") from None

    def _limit(self, plaintext, aad):
        if len(plaintext) > LIMIT:
            raise invalid(f"The plaintext must be no larger than {LIMIT} bytes.")
        if len(aad) > LIMIT:
            raise invalid(f"The additional authenticated data must be no larger than {LIMIT} bytes.")
        if self.template["protectionLevel"] == "HSM" and len(plaintext) + len(aad) > HSM_LIMIT:
            raise invalid(
                f"Plaintext and additional authenticated data must be no larger than {HSM_LIMIT} bytes together."
            )


MAGIC = b"\x0a\x24"
HEAD = struct.Struct(">2s16sI")
OVERHEAD = HEAD.size + 12 + 16


class KeyStore:
    """Every key of this server, by its full name."""

    def __init__(self):
        self.rings, self.keys = {}, {}

    def create_ring(self, name, now):
        location = name.split("/")[3]
        check_location(location)
        if name in self.rings:
            raise ApiError("ALREADY_EXISTS", f"KeyRing {name} already exists.")
        self.rings[name] = {"name": name, "createTime": timestamp(now)}
        return self.rings[name]

    def create_key(self, name, purpose, protection, first_version, now):
        if not KEY_NAME.match(name):
            raise invalid(f"{name} is not the name of a CryptoKey.")
        ring = name.rsplit("/cryptoKeys/", 1)[0]
        if ring not in self.rings:
            raise not_found("KeyRing", ring)
        if name in self.keys:
            raise ApiError("ALREADY_EXISTS", f"CryptoKey {name} already exists.")
        key = Key(name, purpose, protection, now)
        if first_version:
            version = key.add_version(now)
            key.primary = version if purpose == "ENCRYPT_DECRYPT" else None
        self.keys[name] = key
        return key

    def key(self, name):
        parts = name.split("/")
        check_location(parts[3])
        if name not in self.keys:
            raise not_found("CryptoKey", name)
        return self.keys[name]


def check_location(location):
    if location not in LOCATIONS:
        raise ApiError(
            "NOT_FOUND",
            f"The request concerns location '{location}' but was sent to location 'global'. Either Cloud KMS is not "
            f"available in '{location}' or the request was misrouted. gRPC clients must ensure that "
            "'x-goog-request-params' is specified in request metadata. See https://cloud.google.com/kms/docs/grpc for "
            "more information.",
        )


def timestamp(moment):
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def utc(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc)
