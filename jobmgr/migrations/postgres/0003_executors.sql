-- The executor whose job this is wherever it runs: its holder's death does not end it, another holder takes it over.
alter table jobs add column recover_by varchar(128);

-- Which library the last attempt ran with, as JSON.
alter table jobs add column executor text;

alter table attempts add column executor text;

-- What executors of libraries were given that clean up after their jobs, until they have.
create table dispatches (
    job_id bigint not null,
    attempt bigint not null,
    executor varchar(128) not null,
    job text not null,
    handle text,
    uploads text,
    primary key (job_id, attempt)
);
