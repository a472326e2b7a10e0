"""Who calls, and what they may do: OAuth tokens, self-signed JWTs, workload identity federation, IAM."""

import base64
import json
import secrets
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .errors import permission_denied, unauthenticated

SCOPES = {"https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/cloudkms"}
AUDIENCE = "https://cloudkms.googleapis.com/"
TOKEN_ENDPOINT = "https://oauth2.googleapis.com/token"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
LIFETIME = 3600
SKEW = 300

# https://cloud.google.com/kms/docs/reference/permissions-and-roles, as far as this server has the permission.
ROLES = {
    "roles/cloudkms.cryptoKeyEncrypter": ["cloudkms.cryptoKeyVersions.useToEncrypt"],
    "roles/cloudkms.cryptoKeyDecrypter": ["cloudkms.cryptoKeyVersions.useToDecrypt"],
    "roles/cloudkms.cryptoKeyEncrypterDecrypter": [
        "cloudkms.cryptoKeyVersions.useToEncrypt",
        "cloudkms.cryptoKeyVersions.useToDecrypt",
    ],
    "roles/cloudkms.viewer": [
        "cloudkms.keyRings.get",
        "cloudkms.cryptoKeys.get",
        "cloudkms.cryptoKeyVersions.get",
        "cloudkms.cryptoKeyVersions.list",
    ],
    "roles/cloudkms.admin": [
        "cloudkms.keyRings.create",
        "cloudkms.keyRings.get",
        "cloudkms.cryptoKeys.create",
        "cloudkms.cryptoKeys.get",
        "cloudkms.cryptoKeys.update",
        "cloudkms.cryptoKeyVersions.create",
        "cloudkms.cryptoKeyVersions.destroy",
        "cloudkms.cryptoKeyVersions.get",
        "cloudkms.cryptoKeyVersions.list",
        "cloudkms.cryptoKeyVersions.restore",
        "cloudkms.cryptoKeyVersions.update",
    ],
}


class OAuthError(Exception):
    """An answer of a token endpoint: RFC 6749, section 5.2."""

    def __init__(self, error, description):
        super().__init__(description)
        self.body = {"error": error, "error_description": description}


class Identities:
    def __init__(self, clock):
        self.clock = clock
        self.accounts = {}  # email -> {key id: public key}
        self.tokens = {}  # opaque token -> (principal, expires)
        self.federated = {}  # (audience, subject token) -> principal
        self.grants = []  # (principal, permission, resource prefix)
        self.metadata_account = None
        self.seen, self.expired = {}, set()  # self-signed tokens that were used, of whom; and those good no more
        self.expired_accounts = set()  # whose tokens have all expired, also those to come

    def create_account(self, email, token_uri):
        """A service account with a fresh key, as the file that `gcloud iam service-accounts keys create` writes."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        key_id = secrets.token_hex(20)
        self.accounts.setdefault(email, {})[key_id] = key.public_key()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": email.split("@")[1].split(".")[0],
            "private_key_id": key_id,
            "private_key": pem.decode(),
            "client_email": email,
            "client_id": "100000000000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": token_uri,
            "universe_domain": "googleapis.com",
        }

    def grant(self, principal, resource, role=None, permissions=()):
        for permission in ROLES[role] if role else permissions:
            self.grants.append((principal, permission, resource))

    def revoke_grants(self, principal):
        self.grants = [grant for grant in self.grants if grant[0] != principal]

    def allowed(self, principal, permission, resource):
        return any(
            who == principal and what == permission and (resource == where or resource.startswith(where + "/"))
            for who, what, where in self.grants
        )

    def require(self, principal, permission, resource):
        if not self.allowed(principal, permission, resource):
            raise permission_denied(permission, resource)

    def issue(self, principal):
        token = "ya29." + secrets.token_urlsafe(32)
        self.tokens[token] = (principal, self.clock() + LIFETIME)
        return {"access_token": token, "expires_in": LIFETIME, "token_type": "Bearer"}

    def expire_tokens(self, principal):
        """Every token of this account that was used so far has expired; others are good.

        A self-signed token says the second of its making, and its signature has no chance in it: the same account
        makes the same token again within that second, so let it pass.
        """
        for token, (owner, _) in list(self.tokens.items()):
            if owner == principal:
                self.tokens[token] = (owner, 0)
        self.expired |= {token for token, owner in self.seen.copy().items() if owner == principal}
        time.sleep(1.1)

    def caller(self, authorization):
        if not authorization.startswith("Bearer "):
            raise unauthenticated("CREDENTIALS_MISSING")
        token = authorization[len("Bearer ") :]
        if token.count(".") == 2 and not token.startswith("ya29."):
            return self._self_signed(token)
        principal, expires = self.tokens.get(token, (None, 0))
        if principal is None:
            raise unauthenticated("ACCESS_TOKEN_TYPE_UNSUPPORTED")
        if expires <= self.clock() or principal in self.expired_accounts:
            raise unauthenticated("ACCESS_TOKEN_EXPIRED")
        return principal

    def _self_signed(self, token):
        """https://google.aip.dev/auth/4111: issuer and subject are the account; the audience or a scope is ours."""
        claims = self._verified(token)
        if claims is None or claims.get("sub") != claims["iss"]:
            raise unauthenticated("ACCESS_TOKEN_TYPE_UNSUPPORTED")
        ours = claims.get("aud") == AUDIENCE or SCOPES & set(claims.get("scope", "").split())
        if not ours:
            raise unauthenticated("ACCESS_TOKEN_SCOPE_INSUFFICIENT")
        if not self._current(claims) or token in self.expired or claims["iss"] in self.expired_accounts:
            raise unauthenticated("ACCESS_TOKEN_EXPIRED")
        self.seen[token] = claims["iss"]
        return claims["iss"]

    def token_endpoint(self, form, url):
        """RFC 7523: an assertion signed by the account's key, for this endpoint or for the one that we stand in for."""
        if form.get("grant_type") != JWT_BEARER:
            raise OAuthError("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type')}")
        claims = self._verified(form.get("assertion", ""))
        if claims is None:
            raise OAuthError("invalid_grant", "Invalid JWT Signature.")
        if claims.get("aud") not in (url, TOKEN_ENDPOINT):
            raise OAuthError("invalid_grant", "Invalid JWT: Failed audience check.")
        if not self._current(claims) or claims["exp"] - claims["iat"] > LIFETIME:
            raise OAuthError(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your "
                "iat and exp values in the JWT claim.",
            )
        if not SCOPES & set(claims.get("scope", "").split()):
            raise OAuthError("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        return self.issue(claims["iss"])

    def exchange_endpoint(self, form):
        """RFC 8693, as https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token has it."""
        if form.get("grant_type", form.get("grantType")) != TOKEN_EXCHANGE:
            raise OAuthError("invalid_request", "Invalid grant type.")
        principal = self.federated.get((form.get("audience"), form.get("subject_token")))
        if principal is None:
            raise OAuthError("invalid_grant", "The subject token is not accepted by the workload identity pool.")
        return {**self.issue(principal), "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}

    def _verified(self, token):
        """The claims of a token that one of our accounts signed."""
        try:
            signed, signature = token.rsplit(".", 1)
            header, claims = (json.loads(_decode(part)) for part in signed.split("."))
            keys = self.accounts.get(claims["iss"], {})
            key = keys.get(header.get("kid")) or (next(iter(keys.values())) if len(keys) == 1 else None)
            if header["alg"] != "RS256" or key is None:
                return None
            key.verify(_decode(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
            return claims
        except (InvalidSignature, ValueError, KeyError, TypeError):
            return None

    def _current(self, claims):
        now = self.clock()
        return claims["iat"] - SKEW <= now <= claims["exp"]


def _decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
