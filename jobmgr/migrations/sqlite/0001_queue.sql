create table jobs (
    id integer primary key autoincrement,
    status varchar(16) not null,
    reason varchar(32),
    priority bigint not null,
    name varchar(255) not null,
    parameters text not null,
    user_id bigint not null,
    created_at bigint not null,
    run_after bigint not null,
    attempt bigint not null,
    epoch bigint not null,
    crashes bigint not null,
    worker varchar(128),
    lease_until bigint,
    started_at bigint,
    finished_at bigint,
    progress text,
    error text,
    exit_code bigint,
    signal_number bigint,
    stdout text,
    stderr text,
    output text,
    notes text,
    artifact_count bigint not null
);

-- What can be claimed, in the order in which it is claimed; finished jobs are not in it.
create index jobs_queued on jobs (priority, id, run_after) where status = 'queued';

-- What is held, by the end of its lease.
create index jobs_started on jobs (lease_until) where status = 'started';

create table artifacts (
    id integer primary key autoincrement,
    job_id bigint not null,
    attempt bigint not null,
    name text not null,
    mime varchar(255) not null,
    size bigint not null,
    uuid varchar(36) not null,
    sha256 varchar(64) not null,
    object_key varchar(255) not null,
    created_at bigint not null
);

create index artifacts_job on artifacts (job_id);

-- What belongs to this installation as a whole: its id, the key that signs download URLs.
create table installation (
    name varchar(64) not null primary key,
    value text not null
);
