"""Errors in the shape that Google APIs give them: google.rpc.Status as JSON, with typed details."""

HTTP_CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class ApiError(Exception):
    """What a call ends with instead of an answer."""

    def __init__(self, status, message, details=(), headers=()):
        super().__init__(message)
        self.code, self.status, self.message = HTTP_CODES[status], status, message
        self.details, self.headers = list(details), dict(headers)

    def body(self):
        error = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = self.details
        return {"error": error}


def error_info(reason, domain="googleapis.com", **metadata):
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": domain,
        "metadata": metadata,
    }


def invalid(message):
    return ApiError("INVALID_ARGUMENT", message)


def not_found(kind, name):
    return ApiError("NOT_FOUND", f"{kind} {name} not found.")


def not_enabled(name, state):
    """A version that exists and may not be used; the violation names the state."""
    violation = {"type": f"KEY_{state}", "subject": name}
    return ApiError(
        "FAILED_PRECONDITION",
        f"{name} is not enabled, current state is: {state}.",
        [{"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": [violation]}],
    )


def permission_denied(permission, resource):
    return ApiError(
        "PERMISSION_DENIED",
        f"Permission '{permission}' denied on resource '{resource}' (or it may not exist).",
        [error_info("IAM_PERMISSION_DENIED", "cloudkms.googleapis.com", permission=permission, resource=resource)],
    )


def unauthenticated(reason):
    return ApiError(
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        [error_info(reason, service="cloudkms.googleapis.com")],
        {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"'},
    )


def throttled(metric, retry_after):
    """Out of quota; with `retry_after` seconds, said both ways a client may look for it."""
    details = [error_info("RATE_LIMIT_EXCEEDED", service="cloudkms.googleapis.com", quota_metric=metric)]
    headers = {}
    if retry_after is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{retry_after}s"})
        headers["Retry-After"] = str(retry_after)
    message = (
        f"Quota exceeded for quota metric '{metric}' and limit '{metric} per minute' of service "
        "'cloudkms.googleapis.com' for consumer 'project_number:1'."
    )
    return ApiError("RESOURCE_EXHAUSTED", message, details, headers)
