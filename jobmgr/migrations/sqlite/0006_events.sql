-- What became of jobs: a row for each change of a status, in the order of the changes.
create table events (
    id integer primary key autoincrement,
    job_id bigint not null,
    status varchar(16) not null,
    attempt bigint not null,
    reason varchar(32),
    created_at bigint not null
);

create index events_job on events (job_id);

create trigger jobs_are_queued after insert on jobs when new.status = 'queued' begin
    insert into events (job_id, status, attempt, created_at)
    values (new.id, new.status, new.attempt, new.created_at);
end;

-- The time as any SQLite can tell it: tools of administrators are older than the one that is built in.
create trigger jobs_move after update of status on jobs
when new.status <> old.status and new.attempt >= old.attempt begin
    insert into events (job_id, status, attempt, reason, created_at)
    values (new.id, new.status, new.attempt, new.reason, 
            cast(round((julianday('now') - 2440587.5) * 86400000) as integer));
end;

-- A claim that is taken back within its transaction was none.
create trigger jobs_are_put_back after update of status on jobs when new.attempt < old.attempt begin
    delete from events where job_id = new.id and attempt = old.attempt and status = 'started';
end;
