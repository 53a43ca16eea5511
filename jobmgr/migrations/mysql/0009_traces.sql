-- The trace that a job's submission belongs to.
alter table jobs add column trace_parent varchar(55);

-- The GPUs that a worker has, as JSON; null: none.
alter table workers add column gpus text;

-- To count what has ended lately.
create index jobs_by_end on jobs (finished_at);
