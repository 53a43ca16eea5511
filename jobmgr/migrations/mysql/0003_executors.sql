-- The executor whose job this is wherever it runs: its holder's death does not end it, another holder takes it over.
alter table jobs add column recover_by varchar(128);

-- Which library the last attempt ran with, as JSON.
alter table jobs add column executor longtext;

alter table attempts add column executor longtext;

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
