//! MySQL, which Debian has in its next version only: in a tree of its own, whose programs run by that tree's loader.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Disk, Place, is_root, programs};

const PACKAGES: &str = "mysql-server-core,mysql-client-core";

/// Makes the data; gives the command that serves it.
pub fn install(place: &Place) -> Result<Vec<String>, String> {
    let tree = tree()?;
    let folder = place.folder.display();
    let mut command = program(&tree, "usr/sbin/mysqld")?;
    command.extend([
        "--no-defaults".to_owned(),
        format!("--basedir={}/usr", tree.display()),
        format!("--lc-messages-dir={}/usr/share/mysql", tree.display()),
        format!("--plugin-dir={}/usr/lib/mysql/plugin", tree.display()),
        format!("--datadir={folder}/data"),
        format!("--tmpdir={folder}"),
        "--secure-file-priv=".to_owned(),
        "--innodb-redo-log-capacity=512M".to_owned(),
    ]);
    if is_root() {
        command.push("--user=root".to_owned());
    }
    programs::run(Command::new(&command[0]).args(&command[1..]).arg("--initialize-insecure"))?;
    command.extend([format!("--socket={folder}/socket"), format!("--port={}", place.port)]);
    let fixed = [
        "--bind-address=127.0.0.1",
        "--max-connections=500",
        "--disable-log-bin",
        "--mysqlx=OFF",
        "--performance-schema=OFF",
        "--skip-name-resolve",
    ];
    command.extend(fixed.map(str::to_owned));
    let disk: &[&str] = match place.disk {
        Disk::Durable => &["--innodb-buffer-pool-size=512M"],
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
pub fn client(place: &Place) -> Result<Command, String> {
    let command = program(&tree()?, "usr/bin/mysql")?;
    let mut client = Command::new(&command[0]);
    client.args(&command[1..]).arg("--no-defaults").arg(format!("--socket={}/socket", place.folder.display()));
    client.args(["--user=root", "--connect-timeout=10", "--default-character-set=utf8mb4"]);
    client.args(["--batch", "--raw", "--skip-column-names"]);
    Ok(client)
}

/// How a program of the tree is called.
fn program(tree: &Path, program: &str) -> Result<Vec<String>, String> {
    let folders = ["usr/lib64", "usr/lib"].map(|folder| tree.join(folder));
    let files = folders.iter().flat_map(fs::read_dir).flatten().flatten();
    let is_loader =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"ld-linux"));
    let loader = files.map(|file| file.path()).find(is_loader);
    let loader = loader.ok_or_else(|| format!("{} has no loader", tree.display()))?;
    let libraries = tree.join(format!("usr/lib/{ARCH}-linux-gnu"));
    let program = tree.join(program);
    let words = [loader.as_path(), Path::new("--library-path"), &libraries, &program];
    Ok(words.map(|word| word.display().to_string()).to_vec())
}

/// The tree, made on first use.
fn tree() -> Result<PathBuf, String> {
    let folder = programs::cached("mysql", PACKAGES, |folder| {
        let tree = folder.join("tree");
        // What an interrupted one has left.
        let _ = fs::remove_dir_all(&tree);
        let mut mmdebstrap = Command::new("mmdebstrap");
        // The mirror's list of the release may be older than it says it should be.
        mmdebstrap.args(["--quiet", "--variant=extract", "--aptopt=Acquire::Check-Valid-Until \"false\""]);
        if !is_root() {
            mmdebstrap.arg("--mode=chrootless");
        }
        programs::run(mmdebstrap.arg(format!("--include={PACKAGES}")).arg("sid").arg(&tree)).map(drop)
    })?;
    Ok(folder.join("tree"))
}
