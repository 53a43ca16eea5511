-- What clients say of their jobs beyond what the original took. `key_text`: what one called its submission. Done again
-- after the server went away in the middle, the statement is left out: it changes all or nothing.
set @columns = if((select count(*) from information_schema.columns
        where table_schema = database() and table_name = 'jobs' and column_name = 'key_text') > 0,
    'do 0',
    'alter table jobs add column labels longtext, add column max_retries bigint, add column retry_of bigint, add column key_text varchar(255), add key jobs_by_status (status, id), add key jobs_by_name (name(255), id), add key jobs_by_user (user_id, id), add key jobs_by_time (created_at)');

prepare columns_of_jobs from @columns;

execute columns_of_jobs;

deallocate prepare columns_of_jobs;

-- The labels of jobs once more, to find the jobs by.
create table if not exists labels (
    name varchar(63) not null,
    value varchar(255) not null,
    job_id bigint not null,
    primary key (name, value, job_id),
    key labels_job (job_id)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- Which job a submission became that its client may send again.
create table if not exists submissions (
    user_id bigint not null,
    key_text varchar(255) not null,
    digest varchar(64) not null,
    job_id bigint not null,
    primary key (user_id, key_text),
    key submissions_job (job_id)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- When somebody asked this worker to take no more jobs.
set @columns = if((select count(*) from information_schema.columns
        where table_schema = database() and table_name = 'workers' and column_name = 'drain_at') > 0,
    'do 0',
    'alter table workers add column drain_at bigint');

prepare columns_of_workers from @columns;

execute columns_of_workers;

deallocate prepare columns_of_workers;
