"""Entra ID, as far as it hands out tokens for a key vault: by a client's secret, by a federated token (workload identity)
and to a managed identity. Written from the reference of the Microsoft identity platform (OAuth 2.0 client credentials
flow, error codes) and of the instance metadata service.
"""

import base64
import hmac
import json
import re
import secrets
import time

TENANT = "6f1c4b2e-0000-4000-8000-5ea190147e57"
CLIENT = "11111111-2222-4333-8444-555555555555"
SECRET = "the secret of the test client"
SUBJECT = "system:serviceaccount:flink:jobmanager"


def encode(data):
    """base64url, as both services write it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    """The bytes, or a ValueError."""
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        raise ValueError("not base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Entra:
    """Who may log in, and the tokens given to them. Tokens are signed by a key that only this process has."""

    def __init__(self):
        self.signing_key = secrets.token_bytes(32)
        self.lifetime = 3600
        self.revoked_before = 0
        self.serial = 0
        self.clients = {}
        self.identity({"client": CLIENT, "secrets": [SECRET], "subjects": [SUBJECT], "managed": True})

    def identity(self, order):
        self.clients[order["client"]] = order

    def issue(self, client, audience):
        self.serial += 1
        now = int(time.time())
        claims = {"aud": audience, "iss": f"https://sts.windows.net/{TENANT}/", "iat": now, "nbf": now,
                  "exp": now + self.lifetime, "appid": client, "oid": client, "tid": TENANT, "serial": self.serial}
        body = encode(json.dumps({"typ": "JWT", "alg": "HS256"}).encode()) + "." + encode(json.dumps(claims).encode())
        signature = hmac.digest(self.signing_key, body.encode(), "sha256")
        return {"token_type": "Bearer", "access_token": f"{body}.{encode(signature)}"}, claims

    def client_of(self, token, audience, now):
        """The client that the token was given to; else what is wrong with it."""
        try:
            body, signature = token.rsplit(".", 1)
            good = hmac.compare_digest(hmac.digest(self.signing_key, body.encode(), "sha256"), decode(signature))
            claims = json.loads(decode(body.split(".")[1]))
        except (ValueError, IndexError):
            good, claims = False, {}
        if not good or claims["serial"] <= self.revoked_before:
            raise ValueError("[BearerReadAccessTokenFailed] Error validating token: 'S2S12005'.")
        if claims["aud"] != audience:
            raise ValueError(f"AKV10022: Invalid audience. Expected {audience}, found: {claims['aud']}.")
        if not claims["nbf"] - 300 <= now < claims["exp"]:
            raise ValueError("[TokenExpired] Error validating token: 'S2S12086'.")
        return claims["appid"]

    def log_in(self, tenant, form):
        """POST /<tenant>/oauth2/v2.0/token, the client credentials flow with a secret or with a federated token."""

        def refuse(status, error, number, text):
            return status, {"error": error, "error_description": f"AADSTS{number}: {text} Trace ID: {secrets.token_hex(8)}",
                            "error_codes": [number], "trace_id": secrets.token_hex(8)}

        scope, client = form.get("scope", ""), self.clients.get(form.get("client_id"))
        if tenant != TENANT:
            return refuse(400, "invalid_tenant", 90002, f"Tenant '{tenant}' not found.")
        if form.get("grant_type") != "client_credentials" or not scope.endswith("/.default"):
            return refuse(400, "invalid_scope", 1002012, f"The provided value for scope {scope} is not valid.")
        if client is None:
            return refuse(400, "unauthorized_client", 700016,
                          f"Application with identifier '{form.get('client_id')}' was not found in the directory.")
        if "client_assertion" in form:
            jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            if form.get("client_assertion_type") != jwt_bearer:
                return refuse(400, "invalid_request", 50027, "JWT token is invalid or malformed.")
            try:
                claims = json.loads(decode(form["client_assertion"].split(".")[1]))
            except (ValueError, IndexError):
                return refuse(401, "invalid_client", 50027, "JWT token is invalid or malformed.")
            if claims.get("exp", 0) <= time.time():
                return refuse(401, "invalid_client", 700024, "Client assertion is not within its valid time range.")
            if claims.get("sub") not in client.get("subjects", ()):
                return refuse(400, "invalid_client", 70021, "No matching federated identity record found.")
        elif form.get("client_secret") in client.get("expired", ()):
            return refuse(401, "invalid_client", 7000222, f"The provided client secret keys for app '{form['client_id']}' "
                          "are expired.")
        elif form.get("client_secret") not in client.get("secrets", ()):
            return refuse(401, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being sent in "
                          "the request is the client secret value, not the client secret ID.")
        answer, _ = self.issue(form["client_id"], scope.removesuffix("/.default"))
        return 200, answer | {"expires_in": self.lifetime, "ext_expires_in": self.lifetime}

    def managed_identity(self, query, metadata):
        """GET /metadata/identity/oauth2/token of the instance metadata service."""
        if metadata != "true":
            return 400, {"error": "invalid_request", "error_description": "Required metadata header not specified"}
        named = query.get("client_id")
        found = [id for id, client in self.clients.items() if client.get("managed") and named in (None, id)]
        if not found:
            return 400, {"error": "invalid_request", "error_description": "Identity not found"}
        if "resource" not in query:
            return 400, {"error": "invalid_resource", "error_description": "AADSTS50001: The resource is not given."}
        answer, claims = self.issue(found[0], query["resource"])
        texts = {"expires_in": str(self.lifetime), "expires_on": str(claims["exp"]), "resource": query["resource"]}
        return 200, answer | texts | {"client_id": found[0]}
