//! MariaDB, from Debian's mariadb-server-core and mariadb-client-core.

use std::process::Command;

use super::{Disk, Place, is_root, programs};

/// Makes the data; gives the command that serves it.
pub fn install(place: &Place, snapshot_isolation: bool) -> Result<Vec<String>, String> {
    let folder = place.folder.display();
    let mut common = vec!["--no-defaults".to_owned(), format!("--datadir={folder}/data"), format!("--tmpdir={folder}")];
    if is_root() {
        common.push("--user=root".to_owned());
    }
    let install = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"];
    programs::run(Command::new("mariadb-install-db").args(&common).args(install))?;
    let mut command = vec!["mariadbd".to_owned()];
    command.extend(common);
    command.extend([
        format!("--socket={folder}/socket"),
        format!("--port={}", place.port),
        format!("--innodb-snapshot-isolation={}", if snapshot_isolation { "ON" } else { "OFF" }),
    ]);
    let fixed = ["--bind-address=127.0.0.1", "--max-connections=500", "--skip-log-bin", "--skip-name-resolve"];
    command.extend(fixed.map(str::to_owned));
    let disk: &[&str] = match place.disk {
        Disk::Durable => &["--innodb-buffer-pool-size=512M", "--innodb-log-file-size=512M"],
        Disk::Fast => &[
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-flush-method=nosync",
            "--innodb-doublewrite=OFF",
        ],
    };
    command.extend(disk.iter().map(|&option| option.to_owned()));
    Ok(command)
}

/// The client; its next argument is the database, its input the statements.
pub fn client(place: &Place) -> Command {
    let mut command = Command::new("mariadb");
    command.arg("--no-defaults").arg(format!("--socket={}/socket", place.folder.display()));
    command.args(["--user=root", "--connect-timeout=10", "--default-character-set=utf8mb4"]);
    command.args(["--batch", "--raw", "--skip-column-names"]);
    command
}
