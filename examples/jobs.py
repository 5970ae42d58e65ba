"""A job queue: web workers take orders in, workers elsewhere do them.

madang start examples/jobs.py:app -i 2     the web front
madang start examples/jobs.py -i 2         the workers
curl -X POST --data 'hello' http://127.0.0.1:8000/
"""

import hashlib
import json

from madang import bus


async def app(scope, receive, send):
    """Answer a POST with what a worker made of its body."""
    if scope["type"] != "http":
        return
    body = (await receive())["body"]
    try:
        job = await bus.submit("digest", body.decode())
        answer, status = await job.result(timeout_s=30), 200
    except bus.Overloaded:
        answer, status = {"error": "too much to do, come back later"}, 503
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def digest(job):
    """Do what takes long, in a thread; done again elsewhere if this process dies."""
    text = job.payload.encode()
    return {
        "attempt": job.attempt,
        "digest": hashlib.pbkdf2_hmac("sha256", text, b"", 200_000).hex(),
    }


if __name__ == "__main__":
    bus.work("digest", digest, at_once=2)
    bus.run()
