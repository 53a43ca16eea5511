-- The ids of the GPUs that a job's last attempt was given, as JSON; null: none.
alter table jobs add column gpus text;
