"""Values of the formats that are jobmgr's own, and of times as far as they are its own."""

from datetime import datetime

import schemathesis
from hypothesis import strategies as st

# Short, since each is waited for.
schemathesis.openapi.format("go-duration", st.sampled_from(["0s", "1ms", "0.1s", "200ms"]))
schemathesis.openapi.format("cursor", st.integers(1, 2**63 - 1).map(lambda number: f"j{number:x}"))
schemathesis.openapi.format("label", st.from_regex(r"[A-Za-z0-9_./-]{1,63}:[a-z ]{0,9}", fullmatch=True))
schemathesis.openapi.format("ascii", st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255))
# In UTC, from 1970.
schemathesis.openapi.format("date-time", st.datetimes(min_value=datetime(1970, 1, 1)).map(lambda time: f"{time.isoformat()}Z"))


@schemathesis.hook
def map_body(context, body):
    """Webhooks lead to a port of this machine where nobody listens, and nowhere else."""
    if isinstance(body, dict):
        for holder in (body, body.get("webhook")):
            if isinstance(holder, dict) and isinstance(holder.get("url"), str) and len(holder["url"]) <= 2048:
                holder["url"] = "http://127.0.0.1:9/hook"
    return body


@schemathesis.hook
def map_query(context, query):
    """What is followed goes on until the job ends, and some begin in years."""
    if query and "follow" in query:
        query["follow"] = "false"
    return query
