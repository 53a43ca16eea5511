-- The executor whose job this is wherever it runs: its holder's death does not end it, another holder takes it over.
-- And which library the last attempt ran with, as JSON. Done again after the server went away in the middle, a statement
-- is left out that was done.
set @columns = if((select count(*) from information_schema.columns
        where table_schema = database() and table_name = 'jobs' and column_name = 'executor') > 0,
    'do 0',
    'alter table jobs add column recover_by varchar(128), add column executor longtext');

prepare columns_of_jobs from @columns;

execute columns_of_jobs;

deallocate prepare columns_of_jobs;

set @columns = if((select count(*) from information_schema.columns
        where table_schema = database() and table_name = 'attempts' and column_name = 'executor') > 0,
    'do 0',
    'alter table attempts add column executor longtext');

prepare columns_of_attempts from @columns;

execute columns_of_attempts;

deallocate prepare columns_of_attempts;

-- What executors of libraries were given that clean up after their jobs, until they have.
create table if not exists dispatches (
    job_id bigint not null,
    attempt bigint not null,
    executor varchar(128) not null,
    job longtext not null,
    handle longtext,
    uploads longtext,
    primary key (job_id, attempt)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;
