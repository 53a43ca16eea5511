-- What became of jobs: a row for each change of a status. The rows of a job are in the order of its changes; between
-- jobs a lower id may become visible later.
create table if not exists events (
    id bigint not null auto_increment primary key,
    job_id bigint not null,
    status varchar(16) not null,
    attempt bigint not null,
    reason varchar(32),
    created_at bigint not null,
    key events_job (job_id)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;
