-- Who may call. Of a token's text there is only the SHA-256. `live_name`: its name until it is revoked, so that no two
-- that hold have the same.
create table if not exists tokens (
    id bigint not null auto_increment primary key,
    name varchar(100) not null,
    live_name varchar(100),
    digest varchar(64) not null,
    user_id bigint not null,
    scopes varchar(64) not null,
    max_queued bigint,
    requests_per_minute bigint,
    created_at bigint not null,
    expires_at bigint,
    revoked_at bigint,
    used_at bigint,
    unique key tokens_digest (digest),
    unique key tokens_name (live_name)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- Who did what.
create table if not exists audit (
    id bigint not null auto_increment primary key,
    done_at bigint not null,
    user_id bigint,
    token_id bigint,
    token varchar(100) not null,
    address varchar(64) not null,
    action varchar(64) not null,
    target varchar(255) not null,
    outcome varchar(64) not null,
    request_id varchar(64) not null,
    key audit_by_time (done_at)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- How many jobs of a user wait. Done again after the server went away in the middle, the statement is left out.
set @queued = if((select count(*) from information_schema.statistics
        where table_schema = database() and table_name = 'jobs' and index_name = 'jobs_queued_by_user') > 0,
    'do 0',
    'alter table jobs add key jobs_queued_by_user (user_id, status)');

prepare queued_of_jobs from @queued;

execute queued_of_jobs;

deallocate prepare queued_of_jobs;
