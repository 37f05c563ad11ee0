"""A Lambda runtime of a few lines, whose function does what it is told to."""

import fcntl
import http.client
import json
import os
import signal
import sys
import threading
from pathlib import Path

PREFIX = "/2018-06-01/runtime"
KEPT = ("_HANDLER", "LAMBDA_TASK_ROOT", "AWS_")


def say(path: str, said: object) -> tuple[bytes, str]:
    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
    connection = http.client.HTTPConnection(host, int(port))
    method = "GET" if said is None else "POST"
    connection.request(method, PREFIX + path, None if said is None else json.dumps(said))
    reply = connection.getresponse()
    return reply.read(), reply.headers.get("Lambda-Runtime-Aws-Request-Id", "")


def do(event: dict[str, object]) -> object:
    match event["do"]:
        case "environ":
            return {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
        case "die":
            os._exit(7)
        case "be killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "leave a daemon":
            leave_a_daemon()
        case "hang":
            Path("hanging").touch()
            threading.Event().wait()
        case "pid":
            return os.getpid()
        case "touch":
            Path("touched").touch()
    return None


def leave_a_daemon() -> None:
    reading, writing = os.pipe()
    if os.fork():
        os.read(reading, 1)
        os._exit(0)
    os.setsid()
    Path("daemon").write_text(str(os.getpid()))
    os.write(writing, b"!")
    os.closerange(3, 100)
    threading.Event().wait(60)
    os._exit(0)


def main() -> None:
    if "broken" in sys.argv:
        sys.exit(3)
    if "unready" in sys.argv:
        say("/init/error", {"errorType": "Runtime.ImportModuleError", "errorMessage": "no numpy"})
        while not Path("leave").exists():
            threading.Event().wait(0.01)
        sys.exit(1)
    held = Path("lock").open("w")  # noqa: SIM115 - for as long as it lives
    fcntl.flock(held, fcntl.LOCK_EX)
    os.write(1, b"here I am\n")
    while True:
        event, request_id = say("/invocation/next", None)
        say(f"/invocation/{request_id}/response", do(json.loads(event)))


if __name__ == "__main__":
    main()
