#!/usr/bin/env python3
"""Drives ../servers/aws_kms.py with AWS's own client (boto3), the allowed and the refused.

Whatever this client accepts from the real service it must accept from ours, and the exceptions that it raises must be
those of the reference. boto3 builds requests and reads answers by AWS's own model of the service; answers are held to that
model here: a field that it does not know, or of another type, is a failure.
"""

import json
import os
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

SERVER = Path(__file__).resolve().parent.parent / "servers" / "aws_kms.py"
REGION, CONTEXT = "eu-west-1", {"sealpoint:tenant": "a", "env": "production"}


def client(service, access_key="FULL", secret=None, token=None, region=REGION):
    made = boto3.client(
        service, region_name=region, endpoint_url=f"http://127.0.0.1:{PORT}", aws_access_key_id=access_key,
        aws_secret_access_key=secret or f"secret-of-{access_key}", aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, proxies={}))
    made.meta.events.register("after-call.kms", held_to_the_model)
    return made


def held_to_the_model(parsed, model, http_response, **_):
    """No field of the answer is unknown to the model; boto3 itself drops those silently."""
    if http_response.status_code == 200 and model.output_shape:
        check(json.loads(http_response.content or b"{}"), model.output_shape, model.name)


def check(value, shape, place):
    kinds = {"string": str, "blob": str, "boolean": bool, "integer": int, "timestamp": (int, float), "structure": dict,
             "list": list}
    assert isinstance(value, kinds[shape.type_name]), f"{place}: {value!r} is no {shape.type_name}"
    if shape.type_name == "structure":
        for name, part in value.items():
            assert name in shape.members, f"{place}: the model knows no {name}"
            check(part, shape.members[name], f"{place}.{name}")
    elif shape.type_name == "list":
        for part in value:
            check(part, shape.member, place)
    elif shape.type_name == "string" and getattr(shape, "enum", None):
        assert value in shape.enum, f"{place}: {value} is none of {shape.enum}"


class Kms(unittest.TestCase):
    def setUp(self):
        self.kms = client("kms")
        self.key = self.kms.create_key()["KeyMetadata"]["Arn"]

    def refused(self, code, call, *arguments, **request):
        with self.assertRaises(ClientError) as caught:
            call(*arguments, **request)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        return caught.exception

    def draw(self, context=CONTEXT, **more):
        return self.kms.generate_data_key(KeyId=self.key, KeySpec="AES_256", EncryptionContext=context, **more)

    def test_wraps_and_unwraps_under_the_context_alone(self):
        drawn = self.draw()
        self.assertEqual((len(drawn["Plaintext"]), drawn["KeyId"]), (32, self.key))
        opened = self.kms.decrypt(CiphertextBlob=drawn["CiphertextBlob"], EncryptionContext=CONTEXT, KeyId=self.key)
        self.assertEqual((opened["Plaintext"], opened["KeyMaterialId"]), (drawn["Plaintext"], drawn["KeyMaterialId"]))
        wrapped = self.kms.encrypt(KeyId=self.key, Plaintext=b"7" * 32, EncryptionContext={"a": "bc"})
        self.assertNotIn("KeyMaterialId", wrapped)
        for context in ({"ab": "c"}, {}, {"a": "bc", "d": "e"}):
            self.refused("InvalidCiphertextException", self.kms.decrypt, CiphertextBlob=wrapped["CiphertextBlob"],
                         EncryptionContext=context)
        other = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.refused("IncorrectKeyException", self.kms.decrypt, CiphertextBlob=wrapped["CiphertextBlob"], KeyId=other,
                     EncryptionContext={"a": "bc"})
        for blob in (wrapped["CiphertextBlob"][:-1], b"x", wrapped["CiphertextBlob"] + b"x"):
            self.refused("InvalidCiphertextException", self.kms.decrypt, CiphertextBlob=blob,
                         EncryptionContext={"a": "bc"})

    def test_rotates_with_materials_that_have_names(self):
        self.key = self.kms.create_key(Description="rotates slowly")["KeyMetadata"]["Arn"]
        before = self.draw()
        self.kms.rotate_key_on_demand(KeyId=self.key)
        self.assertIn("OnDemandRotationStartDate", self.kms.get_key_rotation_status(KeyId=self.key))
        self.refused("ConflictException", self.kms.rotate_key_on_demand, KeyId=self.key)
        while self.kms.describe_key(KeyId=self.key)["KeyMetadata"]["CurrentKeyMaterialId"] == before["KeyMaterialId"]:
            time.sleep(0.05)
        after = self.draw()
        self.assertNotEqual(after["KeyMaterialId"], before["KeyMaterialId"])
        pages = self.kms.get_paginator("list_key_rotations").paginate(KeyId=self.key, IncludeKeyMaterial="ALL_KEY_MATERIAL")
        states = {entry["KeyMaterialId"]: entry["KeyMaterialState"] for page in pages for entry in page["Rotations"]}
        self.assertEqual(states, {before["KeyMaterialId"]: "NON_CURRENT", after["KeyMaterialId"]: "CURRENT"})
        self.assertEqual(len(self.kms.list_key_rotations(KeyId=self.key)["Rotations"]), 1)
        again = self.kms.re_encrypt(
            CiphertextBlob=before["CiphertextBlob"], SourceKeyId=self.key, SourceEncryptionContext=CONTEXT,
            DestinationKeyId=self.key, DestinationEncryptionContext=CONTEXT)
        self.assertEqual((again["SourceKeyMaterialId"], again["DestinationKeyMaterialId"]),
                         (before["KeyMaterialId"], after["KeyMaterialId"]))

    def test_keeps_to_the_state_and_the_usage_of_a_key(self):
        drawn = self.draw()
        self.kms.disable_key(KeyId=self.key)
        self.refused("DisabledException", self.draw)
        self.refused("DisabledException", self.kms.decrypt, CiphertextBlob=drawn["CiphertextBlob"], EncryptionContext=CONTEXT)
        self.kms.enable_key(KeyId=self.key)
        self.draw()
        self.kms.schedule_key_deletion(KeyId=self.key, PendingWindowInDays=7)
        self.refused("KMSInvalidStateException", self.draw)
        self.assertEqual(self.kms.describe_key(KeyId=self.key)["KeyMetadata"]["KeyState"], "PendingDeletion")
        self.kms.cancel_key_deletion(KeyId=self.key)
        self.refused("DisabledException", self.draw)
        signing = self.kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["KeyId"]
        self.refused("InvalidKeyUsageException", self.kms.encrypt, KeyId=signing, Plaintext=b"1")

    def test_finds_keys_by_every_name(self):
        self.kms.create_alias(AliasName="alias/found", TargetKeyId=self.key)
        for name in (self.key, self.key.split("/")[1], "alias/found", f"arn:aws:kms:{REGION}:111122223333:alias/found"):
            self.assertEqual(self.kms.describe_key(KeyId=name)["KeyMetadata"]["Arn"], self.key)
        for name in ("alias/none", "00000000-1111-2222-3333-444444444444", self.key.replace(REGION, "us-east-1")):
            self.refused("NotFoundException", self.kms.describe_key, KeyId=name)
        self.refused("AccessDeniedException", self.kms.describe_key, KeyId=self.key.replace("111122223333", "444455556666"))

    def test_replicates_multi_region_keys(self):
        self.key = self.kms.create_key(MultiRegion=True)["KeyMetadata"]["Arn"]
        replica = self.kms.replicate_key(KeyId=self.key, ReplicaRegion="us-east-1")["ReplicaKeyMetadata"]["Arn"]
        opened = client("kms", region="us-east-1").decrypt(
            CiphertextBlob=self.draw()["CiphertextBlob"], EncryptionContext=CONTEXT, KeyId=replica)
        self.assertEqual(opened["KeyId"], replica)

    def test_runs_dry(self):
        self.refused("DryRunOperationException", self.draw, DryRun=True)
        self.refused("DryRunOperationException", self.kms.encrypt, KeyId=self.key, Plaintext=b"1", DryRun=True)
        drawn = self.draw()["CiphertextBlob"]
        self.refused("DryRunOperationException", self.kms.decrypt, CiphertextBlob=drawn, EncryptionContext=CONTEXT, DryRun=True)
        denied = client("kms", "DENYDecrypt")
        for kms, code in ((self.kms, "DryRunOperationException"), (denied, "AccessDeniedException")):
            self.refused(code, kms.decrypt, CiphertextBlob=drawn, EncryptionContext=CONTEXT, DryRun=True)

    def test_looks_at_who_asks(self):
        describe = {"KeyId": self.key}
        self.refused("InvalidSignatureException", client("kms", "FULL", secret="wrong").describe_key, **describe)
        self.refused("InvalidSignatureException", client("kms", "SKEWED").describe_key, **describe)
        self.refused("UnrecognizedClientException", client("kms", "NOBODY").describe_key, **describe)
        self.refused("ExpiredTokenException", client("kms", "EXPIRED").describe_key, **describe)
        self.refused("AccessDeniedException", client("kms", "DENYDescribeKey").describe_key, **describe)

    def test_gives_roles(self):
        role = {"RoleArn": "arn:aws:iam::111122223333:role/flink", "RoleSessionName": "session"}
        given = client("sts").assume_role(**role)["Credentials"]
        kms = client("kms", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        self.assertEqual(kms.describe_key(KeyId=self.key)["KeyMetadata"]["Arn"], self.key)
        self.refused("UnrecognizedClientException", client("kms", given["AccessKeyId"]).describe_key, KeyId=self.key)
        by_web = client("sts").assume_role_with_web_identity
        self.assertIn("Credentials", by_web(WebIdentityToken="good-web-identity", **role))
        self.refused("InvalidIdentityToken", by_web, WebIdentityToken="never-seen-before", **role)
        self.refused("ExpiredTokenException", by_web, WebIdentityToken="expired-web-identity", **role)
        self.refused("AccessDenied", client("sts").assume_role, RoleArn=f"{role['RoleArn']}2", RoleSessionName="session")


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        PORT = free.getsockname()[1]
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[variable]
    server = subprocess.Popen([sys.executable, SERVER, str(PORT)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", PORT)) == 0:
                    break
            time.sleep(0.05)
        unittest.main(verbosity=2)
    finally:
        server.kill()
        server.wait()
