"""Google Cloud Storage as far as its XML API is used: objects with generations and preconditions, listings in pages,
uploads in parts, bearer tokens. Written from https://cloud.google.com/storage/docs/xml-api/reference, in memory.

    gcs.py PORT BUCKET

The token `owner` may do everything, `reader` may read and list; any other is none.
"""

import email.utils
import hashlib
import sys
import threading
import urllib.parse
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

PAGE = 1000
LOCK = threading.Lock()


class Object:
    def __init__(self, content, generation):
        self.content, self.generation = content, generation
        self.etag = '"' + hashlib.md5(content, usedforsecurity=False).hexdigest() + '"'
        self.modified = datetime.now(timezone.utc)


class Bucket:
    def __init__(self):
        self.objects, self.uploads, self.last = {}, {}, 1000

    def number(self):
        self.last += 1
        return self.last

    def put(self, name, content):
        self.objects[name] = Object(content, self.number())
        return self.objects[name]


class Refused(Exception):
    def __init__(self, status, code, text):
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket_name, bucket = "", Bucket()

    def handle_method(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        url = urllib.parse.urlsplit(self.path)
        bucket, _, name = url.path[1:].partition("/")
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        try:
            with LOCK:
                self.authorize()
                if urllib.parse.unquote(bucket) != self.bucket_name:
                    raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.")
                status, headers, answer = self.answer(urllib.parse.unquote(name), query, body)
        except Refused as refused:
            text = f"<Error><Code>{refused.code}</Code><Message>{refused.text}</Message></Error>"
            status, headers, answer = refused.status, {"Content-Type": "application/xml"}, text.encode()
        self.send_response(status)
        for header, value in {"Content-Length": len(answer), **headers}.items():
            self.send_header(header, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_method

    def authorize(self):
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if not token:
            raise Refused(403, "AccessDenied", "Anonymous caller does not have access to the bucket.")
        if token not in ("owner", "reader"):
            raise Refused(401, "AuthenticationRequired", "Authentication required.")
        if token == "reader" and self.command not in ("GET", "HEAD"):
            raise Refused(403, "AccessDenied", "The caller does not have storage.objects.create access.")

    def answer(self, name, query, body):
        if self.command == "GET" and not name:
            return self.listing(query)
        if self.command == "POST" and "uploads" in query:
            upload = f"upload-{self.bucket.number()}"
            self.bucket.uploads[upload] = {}
            return 200, {}, self.xml("InitiateMultipartUploadResult", Bucket=self.bucket_name, Key=name, UploadId=upload)
        if "uploadId" in query:
            return self.part(name, query, body)
        found = self.bucket.objects.get(name)
        if self.command == "PUT":
            self.precondition(found)
            return 200, self.describe(self.bucket.put(name, body)), b""
        if found is None:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.")
        if self.command == "DELETE":
            self.precondition(found)
            del self.bucket.objects[name]
            return 204, {}, b""
        return self.read(found)

    def precondition(self, found):
        expected = self.headers.get("x-goog-if-generation-match")
        if expected is not None and int(expected) != (found.generation if found else 0):
            raise Refused(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")

    def read(self, found):
        headers, content = self.describe(found), found.content
        wanted = self.headers.get("Range")
        if self.command == "HEAD" or wanted is None:
            return 200, {**headers, "Content-Length": len(content)}, content
        first, last = wanted.removeprefix("bytes=").split("-")
        if int(first) >= len(content):
            raise Refused(416, "InvalidRange", "The requested range cannot be satisfied.")
        end = min(int(last) + 1, len(content))
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(content)}"
        return 206, headers, content[int(first) : end]

    def describe(self, found):
        modified = email.utils.format_datetime(found.modified, usegmt=True)
        return {"ETag": found.etag, "x-goog-generation": found.generation, "Last-Modified": modified}

    def listing(self, query):
        prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
        names = sorted(name for name in self.bucket.objects if name.startswith(prefix) and name > after)
        page = names[: min(PAGE, int(query.get("max-keys", PAGE)))]
        contents = ""
        for name in page:
            found = self.bucket.objects[name]
            contents += (
                f"<Contents><Key>{escape(name)}</Key><Generation>{found.generation}</Generation>"
                f"<LastModified>{found.modified.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}</LastModified>"
                f"<ETag>{found.etag}</ETag><Size>{len(found.content)}</Size></Contents>"
            )
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(page) < len(names) else ""
        return 200, {}, f"<ListBucketResult>{contents}{more}</ListBucketResult>".encode()

    def part(self, name, query, body):
        parts = self.bucket.uploads.get(query["uploadId"])
        if parts is None:
            raise Refused(404, "NoSuchUpload", "The requested upload was not found.")
        if self.command == "PUT":
            parts[int(query["partNumber"])] = body
            return 200, {"ETag": '"' + hashlib.md5(body, usedforsecurity=False).hexdigest() + '"'}, b""
        del self.bucket.uploads[query["uploadId"]]
        if self.command == "DELETE":
            return 204, {}, b""
        made = self.bucket.put(name, b"".join(content for _, content in sorted(parts.items())))
        answer = self.xml("CompleteMultipartUploadResult", Bucket=self.bucket_name, Key=name, ETag=made.etag)
        return 200, {"x-goog-generation": made.generation}, answer

    def xml(self, element, **fields):
        inner = "".join(f"<{field}>{escape(value)}</{field}>" for field, value in fields.items())
        return f"<{element}>{inner}</{element}>".encode()


if __name__ == "__main__":
    Handler.bucket_name = sys.argv[2]
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
