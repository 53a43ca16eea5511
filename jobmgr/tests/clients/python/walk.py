"""What a caller does, with a client that openapi-python-client has made of the document.

Arguments: the server's address and, where it asks for one, a token.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, TypeVar

from jobmgr_client import AuthenticatedClient, Client
from jobmgr_client.api.artifacts import get_artifact, list_artifacts, zip_artifacts
from jobmgr_client.api.events import follow_job
from jobmgr_client.api.inputs import delete_input, get_input, upload_input
from jobmgr_client.api.jobs import cancel_job, delete_job, get_job, get_logs, list_jobs, retry_job, submit_batch, submit_job
from jobmgr_client.api.server import get_me
from jobmgr_client.models import ArtifactList, BatchAccepted, CancelAccepted, Code, Input, Job, JobList, Me, Problem, Status, SubmitBatch, SubmitJob
from jobmgr_client.models.submit_job_labels import SubmitJobLabels
from jobmgr_client.models.submit_job_parameters import SubmitJobParameters
from jobmgr_client.types import File

T = TypeVar("T")


def connect(url: str, token: str | None) -> Client | AuthenticatedClient:
    if token:
        return AuthenticatedClient(base_url=url, token=token, raise_on_unexpected_status=True)
    return Client(base_url=url, raise_on_unexpected_status=True)


def is_a(kind: type[T], answer: object) -> T:
    """The answer, which must be of this type."""
    assert isinstance(answer, kind), answer
    return answer


def submission(name: str, **parameters: object) -> SubmitJob:
    return SubmitJob(name=name, parameters=SubmitJobParameters.from_dict(parameters))


def submit_and_wait(client: Client | AuthenticatedClient) -> None:
    body = submission("hello", message="good morning", style="loud")
    body.labels = SubmitJobLabels.from_dict({"team": "art"})
    body.run_after = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    first = is_a(Job, submit_job.sync(client=client, body=body, wait="30s", idempotency_key="python"))
    assert first.status is Status.COMPLETED and first.result == "GOOD MORNING!!!\n", first
    assert first.created > datetime(2026, 1, 2, tzinfo=UTC) and first.labels["team"] == "art", first
    again = submit_job.sync_detailed(client=client, body=body, idempotency_key="python")
    assert again.status_code == 200 and is_a(Job, again.parsed).id == first.id, again
    retried = retry_job.sync_detailed(first.id, client=client)
    assert retried.status_code == 201 and is_a(Job, retried.parsed).retry_of == first.id, retried


def inputs(client: Client | AuthenticatedClient) -> None:
    file = File(payload=BytesIO(b"one two\nthree\n"))
    given = is_a(Input, upload_input.sync(client=client, body=file, name="notes.txt"))
    assert given.size == 14 and is_a(Input, get_input.sync(given.id, client=client)).name == "notes.txt", given
    job = is_a(Job, submit_job.sync(client=client, body=submission("word-count", file=given.id), wait="30s"))
    assert job.result == "notes.txt: 2 lines, 3 words\n", job
    assert is_a(Problem, delete_input.sync(given.id, client=client)).code is Code.CONFLICT


def logs(client: Client | AuthenticatedClient) -> None:
    job = is_a(Job, submit_job.sync(client=client, body=submission("countdown", seconds=1)))
    text = is_a(File, get_logs.sync(job.id, client=client, follow=True))
    assert text.payload.read() == b"1\nliftoff\n"
    ended = is_a(Job, get_job.sync(job.id, client=client, wait="30s"))
    assert ended.status is Status.COMPLETED and ended.progress, ended
    assert ended.progress.percent == 100, ended


def told(lines: Iterable[str]) -> Iterator[tuple[str, str, Any]]:
    """Id, kind and data of Server-Sent Events."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line and name:
            fields[name] = value
        elif not line:
            if "data" in fields:
                yield fields["id"], fields["event"], json.loads(fields["data"])
            fields = {}


def events(client: Client | AuthenticatedClient) -> None:
    job = is_a(Job, submit_job.sync(client=client, body=submission("countdown", seconds=1)))
    seen = []
    with client.get_httpx_client().stream("GET", f"/v1/jobs/{job.id}/events") as answer:
        for event in told(answer.iter_lines()):
            seen.append(event)
            if event[1] == "log":
                break
    # The connection was closed while the job ran; nothing is missing and nothing comes twice.
    rest = is_a(str, follow_job.sync(job.id, client=client, last_event_id=seen[-1][0]))
    seen += told(rest.splitlines())
    assert len({id for id, _, _ in seen}) == len(seen), seen
    kinds = [kind for _, kind, _ in seen]
    assert kinds[0] == "status" and kinds[-1] == "end" and "progress" in kinds, kinds
    assert "".join(data["text"] for _, kind, data in seen if kind == "log") == "1\nliftoff\n", seen
    statuses = [data["status"] for _, kind, data in seen if kind == "status"]
    assert statuses == ["queued", "started", "completed"], seen
    over = follow_job.sync_detailed(job.id, client=client, last_event_id=seen[-1][0])
    assert over.status_code == 204 and not over.content, over


def artifacts(client: Client | AuthenticatedClient) -> None:
    job = is_a(Job, submit_job.sync(client=client, body=submission("image-generator", message="hi"), wait="30s"))
    [artifact] = is_a(ArtifactList, list_artifacts.sync(job.id, client=client)).items
    assert artifact.mime == "image/png", artifact
    picture = is_a(File, get_artifact.sync(artifact.id, client=client)).payload.read()
    assert picture.startswith(b"\x89PNG") and len(picture) == artifact.size, artifact
    zipped = is_a(File, zip_artifacts.sync(job.id, client=client)).payload.read()
    assert picture in zipped
    assert delete_job.sync_detailed(job.id, client=client).status_code == 204
    assert is_a(Problem, get_artifact.sync(artifact.id, client=client)).code is Code.NOT_FOUND


def cancel(client: Client | AuthenticatedClient) -> None:
    job = is_a(Job, submit_job.sync(client=client, body=submission("countdown", seconds=600)))
    is_a(CancelAccepted, cancel_job.sync(job.id, client=client))
    ended = is_a(Job, get_job.sync(job.id, client=client, wait="30s"))
    assert ended.status is Status.CANCELED and ended.reason == "canceled", ended
    refused = is_a(Problem, cancel_job.sync(job.id, client=client))
    assert refused.code is Code.CONFLICT and refused.job_status is Status.CANCELED, refused


def pages(client: Client | AuthenticatedClient) -> None:
    name = f"python-{os.getpid()}"
    body = submission("sysinfo")
    body.labels = SubmitJobLabels.from_dict({"pages": name})
    batch = is_a(BatchAccepted, submit_batch.sync(client=client, body=SubmitBatch(jobs=[body] * 5)))
    seen: list[int] = []
    page = is_a(JobList, list_jobs.sync(client=client, label=f"pages:{name}", limit=2))
    while True:
        seen += [job.id for job in page.items]
        if page.next_ is None:
            break
        page = is_a(JobList, list_jobs.sync(client=client, label=f"pages:{name}", limit=2, cursor=page.next_))
    assert seen == list(reversed(batch.ids)), seen


def problems(client: Client | AuthenticatedClient) -> None:
    unknown = is_a(Problem, submit_job.sync(client=client, body=submission("nope")))
    assert unknown.code is Code.UNKNOWN_JOB and unknown.status == 404, unknown
    body = submission("hello", style="quiet", mesage="x")
    body.priority = 101
    wrong = is_a(Problem, submit_job.sync(client=client, body=body))
    fields = {error.field for error in wrong.errors or []}
    assert wrong.code is Code.INVALID_PARAMETERS, wrong
    assert fields == {"priority", "parameters.style", "parameters.mesage"}, wrong


def who(client: Client | AuthenticatedClient) -> None:
    me = is_a(Me, get_me.sync(client=client))
    assert "admin" in me.scopes, me
    if isinstance(client, AuthenticatedClient):
        assert me.token and me.token.name == "caller", me
        stranger = connect(str(client.get_httpx_client().base_url), client.token[:-1] + "?")
        assert is_a(Problem, get_me.sync(client=stranger)).code is Code.UNAUTHORIZED


def main() -> None:
    url, token = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    with connect(url, token) as client:
        for step in (who, submit_and_wait, inputs, logs, events, artifacts, cancel, pages, problems):
            step(client)
            print(step.__name__, "ok")


if __name__ == "__main__":
    main()
