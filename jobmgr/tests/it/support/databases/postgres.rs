//! PostgreSQL, from Debian's postgresql or the PATH.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Disk, Place, is_root, programs};

/// Makes the data; gives the command that serves it.
pub fn install(place: &Place) -> Result<Vec<String>, String> {
    let folder = place.folder.display();
    let mut initdb = as_postgres(place, program("initdb"))?;
    initdb.extend([format!("--pgdata={folder}/data"), "--username=postgres".to_owned()]);
    let fixed = ["--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"];
    programs::run(Command::new(&initdb[0]).args(&initdb[1..]).args(fixed).current_dir(&place.folder))?;
    let mut command = as_postgres(place, program("postgres"))?;
    command.extend(["-D".to_owned(), format!("{folder}/data"), "-p".to_owned(), place.port.to_string()]);
    let disk: &[&str] = match place.disk {
        Disk::Durable => &["shared_buffers=512MB", "max_wal_size=4GB"],
        Disk::Fast => &["fsync=off", "full_page_writes=off"],
    };
    let sockets = format!("unix_socket_directories={folder}");
    let fixed = ["listen_addresses=127.0.0.1", "max_connections=300", &sockets];
    command.extend(fixed.iter().chain(disk).flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]));
    Ok(command)
}

/// The client; its next argument is the database, its input the statements.
pub fn client(place: &Place) -> Command {
    let mut command = psql(place);
    command.arg("--host").arg(&place.folder).arg("--username=postgres");
    command
}

/// The client, not told yet where and as whom.
pub fn psql(place: &Place) -> Command {
    let mut command = Command::new(program("psql"));
    command.args(["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1"]);
    command.args(["--tuples-only", "--no-align", "--field-separator=\t", "--pset=null=NULL"]);
    command.arg(format!("--port={}", place.port)).env("PGCONNECT_TIMEOUT", "10");
    command
}

/// How a program is called as the user postgres where this is root, to whom it says no; the folder is that user's then.
pub fn as_postgres(place: &Place, program: PathBuf) -> Result<Vec<String>, String> {
    let program = program.display().to_string();
    if !is_root() {
        return Ok(vec![program]);
    }
    programs::run(Command::new("chown").arg("postgres:postgres").arg(&place.folder))?;
    let words = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", &program];
    Ok(words.map(str::to_owned).to_vec())
}

/// Debian has the newest version's programs outside of the PATH.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|version| version.path()).max_by_key(|path| number(path));
    let debians = newest.map(|version| version.join("bin").join(name)).filter(|path| path.exists());
    debians.unwrap_or_else(|| PathBuf::from(name))
}
