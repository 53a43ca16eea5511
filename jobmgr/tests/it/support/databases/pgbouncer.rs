//! pgbouncer, from Debian's package of that name.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{PASSWORD, Place, USER, postgres};

/// Writes the configuration; gives the command that serves by it, for all databases of the PostgreSQL on that port.
pub fn install(place: &Place, postgres: u16) -> Result<Vec<String>, String> {
    let folder = place.folder.display();
    // Each test has a database, each database connections of its own: idle ones must go soon, for the server has 300.
    let config = format!(
        "[databases]
* = host=127.0.0.1 port={postgres}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 20
server_idle_timeout = 5
ignore_startup_parameters = extra_float_digits
",
        port = place.port
    );
    let write = |name: &str, text: &str| fs::write(place.folder.join(name), text).map_err(|e| e.to_string());
    write("config", &config)?;
    write("users", &format!("\"{USER}\" \"{PASSWORD}\"\n"))?;
    // On its folder's new owner, all can read these.
    let mut command = postgres::as_postgres(place, PathBuf::from("pgbouncer"))?;
    command.push(format!("{folder}/config"));
    Ok(command)
}

/// The client, by way of pgbouncer; its next argument is the database, its input the statements.
pub fn client(place: &Place) -> Command {
    let mut command = postgres::psql(place);
    command.arg("--host=127.0.0.1").arg(format!("--username={USER}")).env("PGPASSWORD", PASSWORD);
    command
}
