-- Who is told of what becomes of jobs. Secrets are encrypted.
create table if not exists webhooks (
    id bigint not null auto_increment primary key,
    user_id bigint not null,
    url text not null,
    events text not null,
    names longtext not null,
    labels longtext not null,
    secret text not null,
    previous_secret text,
    previous_until bigint,
    state varchar(16) not null,
    why_disabled text,
    sequence bigint not null,
    created_at bigint not null,
    enabled_at bigint not null
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- Who is told of the end of one job, until the message to them is made.
create table if not exists job_webhooks (
    job_id bigint not null primary key,
    url text not null,
    secret text
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- What is told, and how it fares. `webhook_id` 0: it goes to the job's own `url`. `lane`: what waits for the same
-- receiver. A pending row is claimed by moving `next_at` on.
create table if not exists deliveries (
    id bigint not null auto_increment primary key,
    webhook_id bigint not null,
    lane varchar(128) not null,
    message_id varchar(64) not null,
    job_id bigint,
    type varchar(32) not null,
    sequence bigint not null,
    event_at bigint not null,
    data longtext not null,
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
    ended_at bigint,
    key deliveries_pending (status, lane, next_at),
    key deliveries_webhook (webhook_id, id),
    key deliveries_job (job_id),
    key deliveries_ended (ended_at)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;
