"""The operations that a server's own document has for its jobspecs. Arguments as for walk.py."""

import sys

from jobmgr_client.api.jobs import run_countdown, run_hello
from jobmgr_client.models import Job, Problem, RunCountdown, RunHello, RunHelloStyle, Status

from walk import connect, is_a


def main() -> None:
    with connect(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None) as client:
        hello = RunHello(message="good evening", style=RunHelloStyle.STARRED)
        job = is_a(Job, run_hello.sync(client=client, body=hello, wait="30s"))
        assert job.status is Status.COMPLETED and job.result == "*** good evening ***\n", job
        later = is_a(Job, run_countdown.sync(client=client, body=RunCountdown(seconds=1), priority=7))
        assert later.priority == 7 and later.parameters["seconds"] == "1", later
        wrong = is_a(Problem, run_hello.sync(client=client, body=RunHello(), wait="soon"))
        assert [error.field for error in wrong.errors or []] == ["wait"], wrong
        print("typed ok")


if __name__ == "__main__":
    main()
