#!/usr/bin/env python3
"""Checks the test server for Azure Key Vault with Microsoft's own client: what our client is tested against must be what
theirs takes for a key vault.
"""

import base64
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.identity import ClientAssertionCredential, ClientSecretCredential, ManagedIdentityCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm

SERVER = Path(__file__).parent.parent / "servers" / "azure_key_vault.py"
OAEP = KeyWrapAlgorithm.rsa_oaep_256
DATA_KEY = bytes(range(64))


class WithServer(unittest.TestCase):
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.process = subprocess.Popen([sys.executable, SERVER, cls.directory.name, "--until-eof", *cls.options],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        cls.at = json.loads(cls.process.stdout.readline())
        cls.client_id, cls.vault = cls.at["client"], cls.at["vault"]

    @classmethod
    def tearDownClass(cls):
        cls.process.communicate("")
        cls.directory.cleanup()

    def tearDown(self):
        self.control("allow", operations=None)
        self.control("answer", length=None)
        self.control("quirks", wrap_while_disabled=False, page=25)
        self.control("clock", offset=0)
        self.control("tokens", lifetime=3600)

    def control(self, command, **order):
        url = f"{self.at['control']}/control/{command}"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(order).encode())) as answer:
            return json.load(answer)

    def counters(self):
        with urllib.request.urlopen(f"{self.at['control']}/control/counters") as answer:
            return json.load(answer)

    def tls(self):
        return {"connection_verify": self.at["ca"], "retry_total": 0}

    def authority(self):
        return {"authority": self.vault, "disable_instance_discovery": True} | self.tls()

    def secret(self, secret=None, tenant=None):
        return ClientSecretCredential(tenant or self.at["tenant"], self.client_id, secret or self.at["secret"], **self.authority())

    def keys(self, credential=None):
        return KeyClient(self.vault, credential or self.secret(), verify_challenge_resource=False, **self.tls())

    def crypto(self, key, credential=None):
        """Of a key id the client wraps at the service if it may not read the key, and locally otherwise."""
        return CryptographyClient(key, credential or self.secret(), verify_challenge_resource=False, **self.tls())

    def refused(self, status, code, inner, call):
        with self.assertRaises(HttpResponseError) as caught:
            call()
        error = caught.exception
        self.assertEqual((error.status_code, error.error and error.error.code), (status, code), error)
        self.assertEqual((error.error.innererror or {}).get("code"), inner, error)
        return str(error)


class Vault(WithServer):
    def test_a_key_has_versions_and_the_newest_is_the_current_one(self):
        keys = self.keys()
        first = keys.create_rsa_key("versions", size=2048)
        self.assertEqual((first.key_type, first.properties.enabled, len(first.key.n)), ("RSA", True, 256))
        second = keys.rotate_key("versions")
        self.assertNotEqual(first.properties.version, second.properties.version)
        self.assertEqual(keys.get_key("versions").id, second.id)
        self.assertEqual(keys.get_key("versions", first.properties.version).key.n, first.key.n)
        self.control("quirks", page=2)
        more = [keys.rotate_key("versions").properties.version for _ in range(3)]
        listed = [version.version for version in keys.list_properties_of_key_versions("versions")]
        self.assertEqual(sorted(listed), sorted([first.properties.version, second.properties.version, *more]))
        age = time.time() - first.properties.created_on.timestamp()
        self.assertLess(abs(age), 60)

    def test_what_the_client_wraps_itself_the_service_opens_and_the_other_way_round(self):
        keys = self.keys()
        for size in (2048, 3072, 4096):
            key = keys.create_rsa_key(f"both-{size}", size=size)
            locally = self.crypto(key.id)
            self.control("counters")
            wrapped = locally.wrap_key(OAEP, DATA_KEY)
            self.assertNotIn("wrapKey", self.counters())
            self.assertEqual(locally.unwrap_key(OAEP, wrapped.encrypted_key).key, DATA_KEY)
            self.assertEqual(self.counters()["unwrapKey"], 1)
            self.control("allow", operations=["wrapKey", "unwrapKey"])
            remotely = self.crypto(key.id)
            wrapped = remotely.wrap_key(OAEP, DATA_KEY)
            self.assertEqual((self.counters()["wrapKey"], wrapped.key_id, len(wrapped.encrypted_key)), (1, key.id, size // 8))
            self.assertEqual(remotely.unwrap_key(OAEP, wrapped.encrypted_key).key, DATA_KEY)
            self.control("allow", operations=None)

    def test_a_key_without_a_version_wraps_under_the_newest_and_names_it(self):
        keys = self.keys()
        old = keys.create_rsa_key("newest", size=2048)
        new = keys.rotate_key("newest")
        self.control("allow", operations=["wrapKey", "unwrapKey"])
        unversioned = self.crypto(f"{self.vault}/keys/newest")
        wrapped = unversioned.wrap_key(OAEP, DATA_KEY)
        self.assertEqual(self.crypto(new.id).unwrap_key(OAEP, wrapped.encrypted_key).key, DATA_KEY)
        self.refused(400, "BadParameter", None, lambda: self.crypto(old.id).unwrap_key(OAEP, wrapped.encrypted_key))
        order = {"alg": "RSA-OAEP-256", "value": base64.urlsafe_b64encode(DATA_KEY).rstrip(b"=").decode()}
        for path in ("newest/wrapkey", "newest//wrapkey", f"newest/{old.properties.version}/wrapkey"):
            answer = keys.send_request(HttpRequest("POST", f"keys/{path}?api-version=7.4", json=order))
            self.assertEqual(answer.json()["kid"], old.id if old.properties.version in path else new.id)

    def test_damaged_and_foreign_ciphertexts_are_bad_parameters(self):
        crypto = self.crypto(self.keys().create_rsa_key("damaged", size=2048).id)
        wrapped = crypto.wrap_key(OAEP, DATA_KEY).encrypted_key
        for damaged in (wrapped[:-1], wrapped + b"0", bytes([wrapped[0] ^ 1]) + wrapped[1:], b"x"):
            self.refused(400, "BadParameter", None, lambda: crypto.unwrap_key(OAEP, damaged))

    def test_a_disabled_version_does_nothing_until_it_is_enabled_again(self):
        keys = self.keys()
        key = keys.create_rsa_key("disabled", size=2048)
        wrapped = self.crypto(key.id).wrap_key(OAEP, DATA_KEY).encrypted_key
        off = keys.update_key_properties("disabled", key.properties.version, enabled=False)
        self.assertFalse(off.properties.enabled)
        self.refused(403, "Forbidden", "KeyDisabled", lambda: self.crypto(key.id).unwrap_key(OAEP, wrapped))
        self.control("allow", operations=["wrapKey", "unwrapKey"])
        self.refused(403, "Forbidden", "KeyDisabled", lambda: self.crypto(key.id).wrap_key(OAEP, DATA_KEY))
        self.control("quirks", wrap_while_disabled=True)
        self.assertEqual(len(self.crypto(key.id).wrap_key(OAEP, DATA_KEY).encrypted_key), 256)
        self.control("allow", operations=None)
        keys.update_key_properties("disabled", key.properties.version, enabled=True)
        self.assertEqual(self.crypto(key.id).unwrap_key(OAEP, wrapped).key, DATA_KEY)

    def test_an_operation_that_the_key_does_not_have_is_forbidden(self):
        key = self.keys().create_rsa_key("signs", size=2048, key_operations=["sign", "verify"])
        self.control("allow", operations=["wrapKey", "unwrapKey"])
        text = self.refused(403, "Forbidden", "KeyOperationForbidden", lambda: self.crypto(key.id).unwrap_key(OAEP, bytes(256)))
        self.assertIn("not permitted on this key", text)

    def test_a_missing_permission_is_named(self):
        keys = self.keys()
        key = keys.create_rsa_key("permissions", size=2048)
        self.control("allow", operations=["get"])
        text = self.refused(403, "Forbidden", "ForbiddenByRbac", lambda: self.crypto(key.id).unwrap_key(OAEP, bytes(256)))
        self.assertIn("Microsoft.KeyVault/vaults/keys/unwrap/action", text)
        self.assertEqual(keys.get_key("permissions").id, key.id)
        self.refused(403, "Forbidden", "ForbiddenByRbac", lambda: keys.rotate_key("permissions"))
        self.control("allow", key="permissions", operations=["list"])
        self.control("allow", operations=None)
        self.refused(403, "Forbidden", "ForbiddenByRbac", lambda: keys.get_key("permissions"))
        self.control("allow", key="permissions", operations=None)

    def test_what_is_not_there_is_not_found(self):
        keys = self.keys()
        self.refused(404, "KeyNotFound", None, lambda: keys.get_key("nobody"))
        keys.create_rsa_key("somebody", size=2048)
        self.refused(404, "KeyNotFound", None, lambda: keys.get_key("somebody", "0" * 32))

    def test_a_deleted_key_waits_and_can_be_recovered(self):
        keys = self.keys()
        key = keys.create_rsa_key("deleted", size=2048)
        deleted = keys.begin_delete_key("deleted").result()
        self.assertGreater(deleted.scheduled_purge_date, deleted.deleted_date)
        with self.assertRaises(ResourceNotFoundError):
            keys.get_key("deleted")
        self.assertEqual(keys.get_deleted_key("deleted").id, key.id)
        self.refused(409, "Conflict", "ObjectIsDeletedButRecoverable", lambda: keys.create_rsa_key("deleted"))
        keys.begin_recover_deleted_key("deleted").wait()
        self.assertEqual(keys.get_key("deleted").id, key.id)
        keys.begin_delete_key("deleted").wait()
        keys.purge_deleted_key("deleted")
        with self.assertRaises(ResourceNotFoundError):
            keys.get_deleted_key("deleted")

    def test_throttling_says_how_long(self):
        keys = self.keys()
        keys.create_rsa_key("throttled", size=2048)
        self.control("fault", count=1, status=429, retry_after=7)
        with self.assertRaises(HttpResponseError) as caught:
            keys.get_key("throttled")
        self.assertEqual((caught.exception.status_code, caught.exception.response.headers["Retry-After"]), (429, "7"))
        self.control("fault", count=1, status=503)
        self.refused(503, "ServiceUnavailable", None, lambda: keys.get_key("throttled"))
        self.assertEqual(keys.get_key("throttled").name, "throttled")

    def test_credentials_are_checked(self):
        nowhere = "00000000-0000-0000-0000-000000000000"
        self.control("identity", client=self.client_id, secrets=[self.at["secret"]], expired=["old"],
                     subjects=[self.at["subject"]], managed=True)
        for credential, code in ((self.secret("old"), "AADSTS7000222"), (self.secret("wrong"), "AADSTS7000215"), (self.secret(tenant=nowhere), "AADSTS90002")):
            with self.assertRaises(ClientAuthenticationError) as caught:
                credential.get_token("https://vault.azure.net/.default")
            self.assertIn(code, str(caught.exception))

    def test_workload_identity_and_managed_identity_log_in(self):
        self.keys().create_rsa_key("identities", size=2048)

        def assertion(subject=self.at["subject"], lifetime=600):
            parts = ({"alg": "RS256"}, {"sub": subject, "exp": int(time.time()) + lifetime}, {})
            return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)

        def workload(token):
            return ClientAssertionCredential(self.at["tenant"], self.client_id, lambda: token, **self.authority())

        self.assertEqual(self.keys(workload(assertion())).get_key("identities").name, "identities")
        for token in (assertion("somebody else"), assertion(lifetime=-10)):
            with self.assertRaises(ClientAuthenticationError):
                self.keys(workload(token)).get_key("identities")
        os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = self.at["control"]
        try:
            managed = self.keys(ManagedIdentityCredential(client_id=self.client_id))
            self.assertEqual(managed.get_key("identities").name, "identities")
            with self.assertRaises(ClientAuthenticationError):
                self.keys(ManagedIdentityCredential(client_id="nobody", retry_total=0)).get_key("identities")
        finally:
            del os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"]

    def test_expired_and_revoked_tokens_are_refused_until_a_new_one_comes(self):
        keys = self.keys()
        keys.create_rsa_key("tokens", size=2048)
        self.control("counters")
        keys.get_key("tokens")
        self.assertNotIn("unauthorized", self.counters())
        self.control("clock", offset=4000)
        with self.assertRaises(ClientAuthenticationError) as caught:
            keys.get_key("tokens")
        self.assertIn("TokenExpired", str(caught.exception))
        self.control("clock", offset=0)
        self.control("revoke")
        with self.assertRaises(ClientAuthenticationError):
            keys.get_key("tokens")
        self.assertEqual(self.keys().get_key("tokens").name, "tokens")

    def test_answers_of_another_length_can_be_had(self):
        crypto = self.crypto(self.keys().create_rsa_key("lengths", size=2048).id)
        wrapped = crypto.wrap_key(OAEP, DATA_KEY).encrypted_key
        for length in (31, 33, 63, 65):
            self.control("answer", length=length)
            self.assertEqual(len(crypto.unwrap_key(OAEP, wrapped).key), length)

    def test_types_and_sizes_that_a_vault_does_not_have_are_refused(self):
        keys = self.keys()
        self.refused(400, "BadParameter", None, lambda: keys.create_rsa_key("small", size=1024))
        self.refused(400, "BadParameter", None, lambda: keys.create_oct_key("symmetric", size=256, hardware_protected=True))
        self.assertEqual(keys.create_ec_key("curve").key_type, "EC")


class Hsm(WithServer):
    options = ("--hsm",)

    def test_aes_gcm_binds_associated_data(self):
        keys = self.keys()
        key = keys.create_oct_key("aes", size=256, hardware_protected=True)
        self.assertEqual(key.key_type, "oct-HSM")
        crypto = self.crypto(key.id)
        sealed = crypto.encrypt(EncryptionAlgorithm.a256_gcm, DATA_KEY[:32], additional_authenticated_data=b"context")
        self.assertEqual((len(sealed.iv), len(sealed.tag), len(sealed.ciphertext)), (12, 16, 32))

        def decrypt(**changed):
            given = {"ciphertext": sealed.ciphertext, "iv": sealed.iv, "authentication_tag": sealed.tag,
                     "additional_authenticated_data": b"context"} | changed
            return crypto.decrypt(EncryptionAlgorithm.a256_gcm, **given)

        self.assertEqual(decrypt().plaintext, DATA_KEY[:32])
        for changed in ({"additional_authenticated_data": b"other"}, {"iv": bytes(12)}, {"authentication_tag": bytes(16)},
                        {"ciphertext": bytes(32)}):
            self.refused(400, "BadParameter", None, lambda: decrypt(**changed))

    def test_a_short_key_does_not_do_the_long_algorithm(self):
        key = self.keys().create_oct_key("short", size=128, hardware_protected=True)
        crypto = self.crypto(key.id)
        self.refused(400, "BadParameter", None, lambda: crypto.encrypt(EncryptionAlgorithm.a256_gcm, bytes(32)))
        self.assertEqual(len(crypto.encrypt(EncryptionAlgorithm.a128_gcm, bytes(32)).ciphertext), 32)

    def test_permissions_are_those_of_a_managed_hsm(self):
        key = self.keys().create_oct_key("permissions", size=256, hardware_protected=True)
        self.control("allow", operations=["get", "encrypt"])
        crypto = self.crypto(key.id)
        sealed = crypto.encrypt(EncryptionAlgorithm.a256_gcm, bytes(32))
        text = self.refused(403, "Forbidden", "ForbiddenByRbac", lambda: crypto.decrypt(
            EncryptionAlgorithm.a256_gcm, sealed.ciphertext, iv=sealed.iv, authentication_tag=sealed.tag))
        self.assertIn("Microsoft.KeyVault/managedHsm/keys/decrypt/action", text)


if __name__ == "__main__":
    logging.disable()
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        os.environ.pop(name, None)
    unittest.main()
