-- How often the job may be running when its holder dies.
alter table jobs add column crash_limit bigint not null default 3;

-- How often it was queued again because of what it did itself.
alter table jobs add column tries bigint not null default 0;

-- When somebody asked for the end of a started job.
alter table jobs add column cancel_at bigint;

-- When it ends if it was not started until then.
alter table jobs add column expires_at bigint;

drop index jobs_queued;

create index jobs_queued on jobs (priority, id, run_after, name) where status = 'queued';

create index jobs_expiring on jobs (expires_at) where status = 'queued' and expires_at is not null;

-- Attempts that did not end their job; the last one is in the job's own row.
create table attempts (
    job_id bigint not null,
    attempt bigint not null,
    ending varchar(16) not null,
    worker varchar(128) not null,
    started_at bigint,
    ended_at bigint not null,
    reason varchar(32),
    error text,
    exit_code bigint,
    signal_number bigint,
    stdout text,
    stderr text,
    primary key (job_id, attempt)
);

-- What running jobs have written, a piece to a row; gone when they end.
create table chunks (
    job_id bigint not null,
    attempt bigint not null,
    stream varchar(16) not null,
    start_at bigint not null,
    size bigint not null,
    content text not null,
    primary key (job_id, attempt, stream, start_at)
);

-- The processes that serve this database, with and without slots.
create table workers (
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
);

-- The jobspecs that a worker has.
create table offers (
    worker varchar(128) not null,
    name varchar(255) not null,
    hash varchar(64) not null,
    about text not null,
    primary key (worker, name)
);

-- A row is locked while a job of this name is claimed of which only so many may run.
create table limits (
    name varchar(255) not null primary key
);

-- What only one process does at a time, and until when it has it.
create table duties (
    name varchar(64) not null primary key,
    done_by varchar(128) not null,
    held_until bigint not null
);
