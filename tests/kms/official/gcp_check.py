#!/usr/bin/env python3
"""Drives ../servers/gcp_kms.py with Google's own client (google-cloud-kms over REST), the allowed and the refused.

Whatever this client accepts from the real service it must accept from ours, and the exceptions that it raises must be
those of the reference. The client's own model of the messages (protobuf) rejects any field that it does not know.
"""

import json
import os
import subprocess
import sys
import threading
import unittest
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "servers"))

import google_crc32c
from gcp_kms import serve
from google.api_core import exceptions
from google.auth import external_account, identity_pool
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request as AuthRequest
from google.cloud import kms
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceRestTransport
from google.oauth2 import service_account

LOCATION = "projects/our-project/locations/europe-west1"
RING = f"{LOCATION}/keyRings/flink"
OPERATOR = "operator@our-project.iam.gserviceaccount.com"
JOB = "job@our-project.iam.gserviceaccount.com"
AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/cluster"
CLOUD = "https://www.googleapis.com/auth/cloud-platform"
State = kms.CryptoKeyVersion.CryptoKeyVersionState
Purpose = kms.CryptoKey.CryptoKeyPurpose


class GoogleClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = serve()
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.host = f"127.0.0.1:{cls.server.server_address[1]}"
        cls.key_files = {email: cls.control("service_account", email=email) for email in (OPERATOR, JOB)}
        cls.control("grant", principal=OPERATOR, resource="projects/our-project", role="roles/cloudkms.admin")
        cls.control("grant", principal=JOB, resource=RING, role="roles/cloudkms.cryptoKeyEncrypterDecrypter")
        cls.client(cls.account(OPERATOR)).create_key_ring(parent=LOCATION, key_ring_id="flink", key_ring={})

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.server.server_close()

    def setUp(self):
        self.operator, self.job = self.client(self.account(OPERATOR)), self.client(self.account(JOB))
        self.key = self.create(self._testMethodName[:63])

    def tearDown(self):
        self.control("no_faults")
        self.control("clock", offset=0, host=self.host, calls=0)

    @classmethod
    def control(cls, call, **arguments):
        return cls.post(f"control/{call}", arguments)

    @classmethod
    def post(cls, path, body, headers=None):
        request = Request(f"http://{cls.host}/{path}", json.dumps(body).encode(), headers or {}, method="POST")
        with build_opener(ProxyHandler({})).open(request) as answer:
            return json.load(answer)

    @classmethod
    def account(cls, email):
        return service_account.Credentials.from_service_account_info(cls.key_files[email], scopes=[CLOUD])

    @classmethod
    def client(cls, identity):
        transport = KeyManagementServiceRestTransport(host=cls.host, credentials=identity, url_scheme="http")
        transport._session.trust_env = False
        return kms.KeyManagementServiceClient(transport=transport)

    def create(self, name, **fields):
        fields.setdefault("purpose", Purpose.ENCRYPT_DECRYPT)
        return self.operator.create_crypto_key(parent=RING, crypto_key_id=name, crypto_key=fields).name

    def encrypt(self, plaintext=b"data key", aad=b"context", key=None):
        return self.job.encrypt(
            {
                "name": key or self.key,
                "plaintext": plaintext,
                "plaintext_crc32c": google_crc32c.value(plaintext),
                "additional_authenticated_data": aad,
                "additional_authenticated_data_crc32c": google_crc32c.value(aad),
            },
            retry=None,
        )

    def decrypt(self, ciphertext, aad=b"context", key=None):
        request = {"name": key or self.key, "ciphertext": ciphertext, "additional_authenticated_data": aad}
        return self.job.decrypt(request, retry=None)

    def add_version(self):
        return self.operator.create_crypto_key_version(parent=self.key, crypto_key_version={}).name

    def set_state(self, name, state):
        version = {"name": name, "state": state}
        return self.operator.update_crypto_key_version(crypto_key_version=version, update_mask={"paths": ["state"]})

    @contextmanager
    def refused(self, status, words=""):
        """The call ends with this status, under the HTTP code that the client knows it by."""
        with self.assertRaisesRegex(exceptions.GoogleAPICallError, words) as caught:
            yield caught
        error = caught.exception.response.json()["error"]
        self.assertEqual((error["status"], error["code"]), (status, caught.exception.code))
        self.assertIsInstance(caught.exception, exceptions.from_http_status(error["code"], "").__class__)

    def test_wraps_and_unwraps_with_checksums_both_ways(self):
        sealed = self.encrypt()
        self.assertEqual(sealed.name, f"{self.key}/cryptoKeyVersions/1")
        self.assertEqual(sealed.ciphertext_crc32c, google_crc32c.value(sealed.ciphertext))
        self.assertTrue(sealed.verified_plaintext_crc32c and sealed.verified_additional_authenticated_data_crc32c)
        self.assertNotIn(b"data key", sealed.ciphertext)
        opened = self.decrypt(sealed.ciphertext)
        self.assertEqual((opened.plaintext, opened.used_primary), (b"data key", True))
        self.assertEqual(opened.plaintext_crc32c, google_crc32c.value(b"data key"))
        unsent = self.job.encrypt(name=self.key, plaintext=b"no checksum")
        self.assertFalse(unsent.verified_plaintext_crc32c)

    def test_refuses_a_wrong_checksum(self):
        sealed = self.encrypt().ciphertext
        for call, request in [
            (self.job.encrypt, {"plaintext": b"data key", "plaintext_crc32c": 1}),
            (self.job.encrypt, {"plaintext": b"x", "additional_authenticated_data_crc32c": 1}),
            (self.job.decrypt, {"ciphertext": sealed, "ciphertext_crc32c": 1}),
        ]:
            with self.refused("INVALID_ARGUMENT", "checksum"):
                call({"name": self.key, **request})

    def test_refuses_another_context_another_key_and_damage(self):
        sealed = self.encrypt().ciphertext
        with self.refused("INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid"):
            self.decrypt(sealed, aad=b"contexT")
        with self.refused("INVALID_ARGUMENT", "verify that 'name' refers to the correct CryptoKey"):
            self.decrypt(sealed, key=self.create("other"))
        for broken in (sealed[:-1], sealed + b"x", sealed[:-1] + bytes([sealed[-1] ^ 1]), b"", b"nonsense"):
            with self.refused("INVALID_ARGUMENT"):
                self.decrypt(broken)

    def test_holds_the_limits(self):
        most = 64 * 1024
        sealed = self.encrypt(b"p" * most, b"a" * most)
        self.assertEqual(len(self.decrypt(sealed.ciphertext, b"a" * most).plaintext), most)
        for plaintext, aad in ((b"p" * (most + 1), b""), (b"", b"a" * (most + 1))):
            with self.refused("INVALID_ARGUMENT", "no larger than"):
                self.encrypt(plaintext, aad)
        hsm = self.create("hsm", version_template={"protection_level": kms.ProtectionLevel.HSM, "algorithm": 1})
        with self.refused("INVALID_ARGUMENT", "no larger than"):
            self.encrypt(b"p" * 4096, b"a" * 4097, key=hsm)

    def test_rotates_by_a_new_version_that_is_then_made_primary(self):
        old = self.encrypt()
        second = self.add_version()
        self.assertEqual(self.encrypt().name, old.name)
        key = self.operator.update_crypto_key_primary_version(name=self.key, crypto_key_version_id="2")
        self.assertEqual((key.primary.name, key.purpose), (second, Purpose.ENCRYPT_DECRYPT))
        self.assertEqual(self.encrypt().name, second)
        self.assertEqual(self.operator.get_crypto_key(name=self.key).primary.name, second)
        opened = self.decrypt(old.ciphertext)
        self.assertEqual((opened.plaintext, opened.used_primary), (b"data key", False))
        with self.refused("NOT_FOUND", "cryptoKeyVersions/9"):
            self.operator.update_crypto_key_primary_version(name=self.key, crypto_key_version_id="9")

    def test_lists_versions_in_pages(self):
        for _ in range(11):
            self.add_version()
        pages = self.operator.list_crypto_key_versions(request={"parent": self.key, "page_size": 5}).pages
        names = [[version.name.rsplit("/", 1)[1] for version in page.crypto_key_versions] for page in pages]
        self.assertEqual([len(page) for page in names], [5, 5, 2])
        self.assertEqual(names[0], ["1", "10", "11", "12", "2"])
        newest = self.operator.get_crypto_key_version(name=f"{self.key}/cryptoKeyVersions/12")
        self.assertEqual((newest.state, newest.protection_level), (State.ENABLED, kms.ProtectionLevel.SOFTWARE))
        self.assertIsNotNone(newest.create_time)

    def test_a_version_that_is_not_enabled_neither_wraps_nor_unwraps(self):
        sealed, version = self.encrypt().ciphertext, f"{self.key}/cryptoKeyVersions/1"
        self.assertEqual(self.set_state(version, State.DISABLED).state, State.DISABLED)
        for call in (lambda: self.decrypt(sealed), self.encrypt):
            with self.refused("FAILED_PRECONDITION", "is not enabled, current state is: DISABLED") as caught:
                call()
            self.assertEqual(caught.exception.details[0]["violations"], [{"type": "KEY_DISABLED", "subject": version}])
        self.set_state(version, State.ENABLED)
        self.assertEqual(self.decrypt(sealed).plaintext, b"data key")

    def test_destruction_is_scheduled_can_be_taken_back_and_is_final(self):
        sealed, version = self.encrypt().ciphertext, f"{self.key}/cryptoKeyVersions/1"
        scheduled = self.operator.destroy_crypto_key_version(name=version)
        self.assertEqual(scheduled.state, State.DESTROY_SCHEDULED)
        self.assertEqual((scheduled.destroy_time - scheduled.create_time).days, 30)
        with self.refused("FAILED_PRECONDITION", "current state is: DESTROY_SCHEDULED"):
            self.decrypt(sealed)
        with self.refused("FAILED_PRECONDITION"):
            self.operator.destroy_crypto_key_version(name=version)
        self.assertEqual(self.operator.restore_crypto_key_version(name=version).state, State.DISABLED)
        with self.refused("FAILED_PRECONDITION"):
            self.operator.restore_crypto_key_version(name=version)
        self.set_state(version, State.ENABLED)
        self.assertEqual(self.decrypt(sealed).plaintext, b"data key")
        self.control("version", name=version, action="destroy")
        with self.refused("FAILED_PRECONDITION", "current state is: DESTROYED"):
            self.decrypt(sealed)
        with self.refused("FAILED_PRECONDITION"):
            self.set_state(version, State.ENABLED)

    def test_a_signing_key_does_not_wrap(self):
        template = {"algorithm": kms.CryptoKeyVersion.CryptoKeyVersionAlgorithm.EC_SIGN_P256_SHA256}
        signing = self.create("signing", purpose=Purpose.ASYMMETRIC_SIGN, version_template=template)
        with self.refused("FAILED_PRECONDITION", "purpose"):
            self.encrypt(key=signing)
        with self.refused("FAILED_PRECONDITION", "purpose"):
            self.decrypt(b"anything", key=signing)
        with self.refused("FAILED_PRECONDITION", "purpose"):
            self.operator.update_crypto_key_primary_version(name=signing, crypto_key_version_id="1")
        self.assertFalse(self.operator.get_crypto_key(name=signing).primary.name)

    def test_names_what_does_not_exist(self):
        with self.refused("NOT_FOUND", "CryptoKey .*nowhere not found"):
            self.encrypt(key=f"{RING}/cryptoKeys/nowhere")
        with self.refused("NOT_FOUND", "CryptoKeyVersion .*/7 not found"):
            self.operator.get_crypto_key_version(name=f"{self.key}/cryptoKeyVersions/7")
        with self.refused("NOT_FOUND", "location 'mars'"):
            self.operator.get_crypto_key(name=self.key.replace("europe-west1", "mars"))
        with self.refused("ALREADY_EXISTS"):
            self.create(self.key.rsplit("/", 1)[1])

    def test_refuses_what_was_not_granted_and_names_it(self):
        for call, permission in [
            (lambda: self.operator.encrypt(name=self.key, plaintext=b"x"), "cryptoKeyVersions.useToEncrypt"),
            (lambda: self.operator.decrypt(name=self.key, ciphertext=b"x"), "cryptoKeyVersions.useToDecrypt"),
            (lambda: self.job.get_crypto_key(name=self.key), "cryptoKeys.get"),
            (lambda: self.job.list_crypto_key_versions(parent=self.key), "cryptoKeyVersions.list"),
            (
                lambda: self.job.create_crypto_key_version(parent=self.key, crypto_key_version={}),
                "cryptoKeyVersions.create",
            ),
            (
                lambda: self.job.update_crypto_key_primary_version(name=self.key, crypto_key_version_id="1"),
                "cryptoKeys.update",
            ),
            (
                lambda: self.encrypt(key=self.key.replace("our-project", "their-project")),
                "cryptoKeyVersions.useToEncrypt",
            ),
        ]:
            with self.refused("PERMISSION_DENIED", f"Permission 'cloudkms.{permission}' denied") as caught:
                call()
            self.assertEqual(caught.exception.details[0]["reason"], "IAM_PERMISSION_DENIED")

    def test_tells_which_permissions_a_caller_has(self):
        use = ["cloudkms.cryptoKeyVersions.useToEncrypt", "cloudkms.cryptoKeyVersions.useToDecrypt"]
        asked = {"resource": self.key, "permissions": [*use, "cloudkms.cryptoKeys.update"]}
        # The generated client sends IAM's calls over gRPC only; this is the same request over the session it owns.
        session, url = self.job.transport._session, f"http://{self.host}/v1/{self.key}:testIamPermissions"
        answer = session.post(url, json={"permissions": asked["permissions"]})
        self.assertEqual(answer.json(), {"permissions": use})

    def test_every_kind_of_credentials_is_let_in(self):
        self.control("metadata", email=JOB)
        self.control("federation", audience=AUDIENCE, subject_token="pod token", principal=JOB)
        by_key_file, by_federation = (
            self.account(JOB),
            identity_pool.Credentials(
                audience=AUDIENCE,
                subject_token_type="urn:ietf:params:oauth:token-type:jwt",
                token_url=f"http://{self.host}/v1/token",
                subject_token_supplier=PodToken(),
                scopes=[CLOUD],
            ),
        )
        for identity in (by_key_file, by_federation):
            identity.refresh(AuthRequest())
        for token in (by_key_file.token, by_federation.token, self.token_of_the_metadata_server()):
            self.assertTrue(token.startswith("ya29."), "a token endpoint was asked")
            self.assertEqual(self.encrypt_by(token)["name"], f"{self.key}/cryptoKeyVersions/1")

    def token_of_the_metadata_server(self):
        """In a process of its own: the library reads the server's place when it is loaded."""
        script = (
            "from google.auth import compute_engine; from google.auth.transport.requests import Request;"
            "found = compute_engine.Credentials(); found.refresh(Request()); print(found.token)"
        )
        environment = {**os.environ, "GCE_METADATA_HOST": self.host, "NO_PROXY": "127.0.0.1"}
        return subprocess.check_output([sys.executable, "-c", script], env=environment, text=True).strip()

    def encrypt_by(self, token):
        return self.post(f"v1/{self.key}:encrypt", {"plaintext": "eA=="}, {"Authorization": f"Bearer {token}"})

    def test_nobody_and_expired_tokens_are_not_let_in(self):
        identity = self.account(JOB)
        identity.refresh(AuthRequest())
        self.encrypt_by(identity.token)
        self.control("expire_tokens", principal=JOB)
        for token, reason in ((identity.token, "ACCESS_TOKEN_EXPIRED"), ("x", "ACCESS_TOKEN_TYPE_UNSUPPORTED")):
            with self.assertRaises(HTTPError) as caught:
                self.encrypt_by(token)
            error = json.load(caught.exception)["error"]
            self.assertEqual((error["code"], error["status"]), (401, "UNAUTHENTICATED"))
            self.assertEqual(error["details"][0]["reason"], reason)

    def test_the_client_gets_over_an_expired_token_but_not_over_a_wrong_clock(self):
        self.encrypt()
        self.control("expire_tokens", principal=JOB)
        self.encrypt()
        self.control("clock", offset=7200, host=self.host, calls=100)
        with self.assertRaisesRegex(RefreshError, "Check your iat and exp values"):
            self.client(self.account(JOB)).encrypt(name=self.key, plaintext=b"x", retry=None)

    def test_throttles_and_fails_as_told(self):
        self.control("fault", method="encrypt", status="RESOURCE_EXHAUSTED", retry_after=7)
        with self.refused("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Cryptographic") as caught:
            self.encrypt()
        delays = [detail["retryDelay"] for detail in caught.exception.details if "retryDelay" in detail]
        self.assertEqual((delays, caught.exception.response.headers["Retry-After"]), (["7s"], "7"))
        self.control("fault", method="encrypt", status="UNAVAILABLE")
        with self.refused("UNAVAILABLE"):
            self.encrypt()
        self.encrypt()

    def test_spoils_checksums_as_told(self):
        self.control("damage", what="ciphertext")
        sealed = self.encrypt()
        self.assertNotEqual(sealed.ciphertext_crc32c, google_crc32c.value(sealed.ciphertext))
        self.control("damage", what="unverified")
        self.assertFalse(self.encrypt().verified_plaintext_crc32c)
        self.control("no_faults")
        self.decrypt(self.encrypt().ciphertext)


class PodToken(identity_pool.SubjectTokenSupplier):
    def get_subject_token(self, context: external_account.SupplierContext, request):
        return "pod token"


if __name__ == "__main__":
    unittest.main()
