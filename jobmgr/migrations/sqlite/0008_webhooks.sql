-- Who is told of what becomes of jobs. Secrets are encrypted.
create table webhooks (
    id integer primary key autoincrement,
    user_id bigint not null,
    url text not null,
    events text not null,
    names text not null,
    labels text not null,
    secret text not null,
    previous_secret text,
    previous_until bigint,
    state varchar(16) not null,
    why_disabled text,
    sequence bigint not null,
    created_at bigint not null,
    enabled_at bigint not null
);

-- Who is told of the end of one job, until the message to them is made.
create table job_webhooks (
    job_id bigint not null primary key,
    url text not null,
    secret text
);

-- What is told, and how it fares. `webhook_id` 0: it goes to the job's own `url`. `lane`: what waits for the same
-- receiver. A pending row is claimed by moving `next_at` on.
create table deliveries (
    id integer primary key autoincrement,
    webhook_id bigint not null,
    lane varchar(128) not null,
    message_id varchar(64) not null,
    job_id bigint,
    type varchar(32) not null,
    sequence bigint not null,
    event_at bigint not null,
    data text not null,
    url text,
    secret text,
    status varchar(16) not null,
    attempts bigint not null,
    tries bigint not null,
    next_at bigint,
    answer_status bigint,
    error text,
    response text,
    took_ms bigint,
    created_at bigint not null,
    ended_at bigint
);

create index deliveries_pending on deliveries (lane, next_at) where status = 'pending';

create index deliveries_webhook on deliveries (webhook_id, id);

create index deliveries_job on deliveries (job_id);

create index deliveries_ended on deliveries (ended_at);
