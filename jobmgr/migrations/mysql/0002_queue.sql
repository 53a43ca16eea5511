-- A statement that was done before the server went away is done again without harm.
create table if not exists jobs (
    id bigint not null auto_increment primary key,
    status varchar(16) not null,
    reason varchar(32),
    priority bigint not null,
    name varchar(1024) not null,
    parameters longtext not null,
    user_id bigint not null,
    created_at bigint not null,
    run_after bigint not null,
    attempt bigint not null,
    epoch bigint not null,
    crashes bigint not null,
    crash_limit bigint not null default 3,
    tries bigint not null default 0,
    worker varchar(128),
    lease_until bigint,
    cancel_at bigint,
    expires_at bigint,
    started_at bigint,
    finished_at bigint,
    artifact_count bigint not null,
    exit_code bigint,
    signal_number bigint,
    progress longtext,
    error longtext,
    stdout longtext,
    stderr longtext,
    output longtext,
    notes longtext,
    -- What can be claimed, in the order in which it is claimed.
    key jobs_queued (status, priority, id, run_after),
    -- What is held, by the end of its lease.
    key jobs_started (status, lease_until),
    key jobs_expiring (status, expires_at)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

create table if not exists artifacts (
    id bigint not null auto_increment primary key,
    job_id bigint not null,
    attempt bigint not null,
    name text not null,
    mime varchar(255) not null,
    size bigint not null,
    uuid varchar(36) not null,
    sha256 varchar(64) not null,
    object_key varchar(255) not null,
    created_at bigint not null,
    key artifacts_job (job_id)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- What belongs to this installation as a whole: its id, the key that signs download URLs.
create table if not exists installation (
    name varchar(64) not null primary key,
    value text not null
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- Attempts that did not end their job; the last one is in the job's own row.
create table if not exists attempts (
    job_id bigint not null,
    attempt bigint not null,
    ending varchar(16) not null,
    worker varchar(128) not null,
    started_at bigint,
    ended_at bigint not null,
    reason varchar(32),
    error longtext,
    exit_code bigint,
    signal_number bigint,
    stdout longtext,
    stderr longtext,
    primary key (job_id, attempt)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- What running jobs have written, a piece to a row; gone when they end.
create table if not exists chunks (
    job_id bigint not null,
    attempt bigint not null,
    stream varchar(16) not null,
    start_at bigint not null,
    size bigint not null,
    content longtext not null,
    primary key (job_id, attempt, stream, start_at)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- The processes that serve this database, with and without slots.
create table if not exists workers (
    id varchar(128) not null primary key,
    name varchar(128) not null,
    host varchar(255) not null,
    version varchar(64) not null,
    slots bigint not null,
    labels text not null,
    storage text not null,
    state varchar(16) not null,
    started_at bigint not null,
    heartbeat_at bigint not null,
    alive_until bigint not null
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- The jobspecs that a worker has.
create table if not exists offers (
    worker varchar(128) not null,
    name varchar(255) not null,
    hash varchar(64) not null,
    about longtext not null,
    primary key (worker, name)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- A row is locked while a job of this name is claimed of which only so many may run.
create table if not exists limits (
    name varchar(255) not null primary key
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- What only one process does at a time, and until when it has it.
create table if not exists duties (
    name varchar(64) not null primary key,
    done_by varchar(128) not null,
    held_until bigint not null
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;
