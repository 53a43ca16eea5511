-- Who may call. Of a token's text there is only the SHA-256. `live_name`: its name until it is revoked, so that no two
-- that hold have the same.
create table tokens (
    id integer primary key autoincrement,
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
    used_at bigint
);

create unique index tokens_digest on tokens (digest);

create unique index tokens_name on tokens (live_name);

-- Who did what.
create table audit (
    id integer primary key autoincrement,
    done_at bigint not null,
    user_id bigint,
    token_id bigint,
    token varchar(100) not null,
    address varchar(64) not null,
    action varchar(64) not null,
    target varchar(255) not null,
    outcome varchar(64) not null,
    request_id varchar(64) not null
);

create index audit_by_time on audit (done_at);

-- How many jobs of a user wait.
create index jobs_queued_by_user on jobs (user_id, status) where status = 'queued';
