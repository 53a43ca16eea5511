-- Files that clients upload for jobs.
create table if not exists inputs (
    id bigint not null auto_increment primary key,
    user_id bigint not null,
    name varchar(255) not null,
    size bigint not null,
    sha256 varchar(64) not null,
    object_key varchar(255) not null,
    created_at bigint not null,
    unique key inputs_key (object_key),
    key inputs_time (created_at)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

-- Which jobs they were given to; they stay as long as one of these is kept.
create table if not exists job_inputs (
    job_id bigint not null,
    input_id bigint not null,
    primary key (job_id, input_id),
    key job_inputs_input (input_id)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;
