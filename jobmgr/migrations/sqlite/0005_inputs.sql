-- Files that clients upload for jobs.
create table inputs (
    id integer primary key autoincrement,
    user_id bigint not null,
    name varchar(255) not null,
    size bigint not null,
    sha256 varchar(64) not null,
    object_key varchar(255) not null,
    created_at bigint not null
);

create unique index inputs_key on inputs (object_key);

create index inputs_time on inputs (created_at);

-- Which jobs they were given to; they stay as long as one of these is kept.
create table job_inputs (
    job_id bigint not null,
    input_id bigint not null,
    primary key (job_id, input_id)
);

create index job_inputs_input on job_inputs (input_id);
