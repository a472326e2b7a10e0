"""A server's memory in a file, so that one that is killed comes back with its keys, as the real ones do."""

import copyreg
import os
import pickle
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

DER, NONE = serialization.Encoding.DER, serialization.NoEncryption()


def private(key):
    return read_private, (key.private_bytes(DER, serialization.PrivateFormat.PKCS8, NONE),)


def read_private(der):
    return serialization.load_der_private_key(der, None)


def public(key):
    return read_public, (key.public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo),)


def read_public(der):
    return serialization.load_der_public_key(der)


def recall(path):
    """What was kept, or None."""
    return pickle.loads(Path(path).read_bytes()) if path and os.path.exists(path) else None


def keep(path, memory):
    """Replaces what was kept, in one step. The caller sees to it that nothing changes meanwhile."""
    if path:
        Path(f"{path}.new").write_bytes(pickle.dumps(memory))
        os.replace(f"{path}.new", path)


# How to write down keys; their classes have no public names.
for example in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())):
    copyreg.pickle(type(example), private)
    copyreg.pickle(type(example.public_key()), public)
