-- What clients say of their jobs beyond what the original took. `key_text`: what one called its submission.
alter table jobs add column labels text;

alter table jobs add column max_retries bigint;

alter table jobs add column retry_of bigint;

alter table jobs add column key_text varchar(255);

-- For lists: the newest first of those that are asked for.
create index jobs_by_status on jobs (status, id) where finished_at is not null;

create index jobs_by_name on jobs (name, id);

create index jobs_by_user on jobs (user_id, id);

create index jobs_by_time on jobs (created_at);

-- The labels of jobs once more, to find the jobs by.
create table labels (
    name varchar(63) not null,
    value varchar(255) not null,
    job_id bigint not null,
    primary key (name, value, job_id)
);

create index labels_job on labels (job_id);

-- Which job a submission became that its client may send again.
create table submissions (
    user_id bigint not null,
    key_text varchar(255) not null,
    digest varchar(64) not null,
    job_id bigint not null,
    primary key (user_id, key_text)
);

create index submissions_job on submissions (job_id);

-- When somebody asked this worker to take no more jobs.
alter table workers add column drain_at bigint;
