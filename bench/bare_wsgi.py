"""A WSGI application that answers one stored body: what the HTTP server alone can do."""

BODY = b'{"resourceType":"Observation","status":"final","note":[{"text":"%b"}]}' % (b"x" * 1100)
HEADERS = [("Content-Type", "application/fhir+json"), ("Content-Length", str(len(BODY)))]


def application(environ, start_response):  # type: ignore[no-untyped-def]
    start_response("200 OK", HEADERS)
    return [BODY]
