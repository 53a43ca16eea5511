//! A network namespace with two links to here: one to a database, which can be cut, and one for HTTP.
//!
//! What is sent over a cut link gets lost: no answer comes, and no refusal. The namespace ends with the process that
//! lives in it, and that one with the tests, however those end.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::programs;

/// A namespace.
pub struct Cell {
    keeper: Child,
    link: String,
    /// Of these two are the addresses, so that no two networks are the same.
    process: u32,
    number: u8,
}

/// What gets lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lost {
    /// Whatever is sent.
    All,
    /// What the database sends.
    Answers,
}

impl Cell {
    /// A new one; `None`, after saying so, where there can't be one.
    pub fn new() -> Option<Cell> {
        let is_root = rustix::process::geteuid().is_root();
        let made = if is_root { Self::make() } else { Err("only root can make one".to_owned()) };
        programs::or_skip("network namespace", made)
    }

    fn make() -> Result<Cell, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed) % 32);
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "sh", "-c", "echo; exec cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = unshare.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut line = [0];
        keeper.stdout.take().ok_or("no output")?.read_exact(&mut line).map_err(|_| "unshare --net fails")?;
        let cell = Cell { keeper, link: format!("jm{process:x}{number:02}"), process, number: number.to_le_bytes()[0] };
        cell.ip("link set lo up", true)?;
        cell.link("data", 0)?;
        cell.link("http", 4)?;
        let strict = format!("/proc/sys/net/ipv4/conf/{}data/rp_filter", cell.link);
        std::fs::write(&strict, "1").map_err(|error| format!("{strict}: {error}"))?;
        Ok(cell)
    }

    /// Both ends know each other's address without asking: a question that gets lost would be noticed.
    fn link(&self, name: &str, first: u8) -> Result<(), String> {
        let outside = format!("{}{name}", self.link);
        let (here, there) = ("02:00:00:00:00:01", "02:00:00:00:00:02");
        let pid = self.keeper.id();
        self.ip(
            &format!("link add {outside} address {here} type veth peer name {name} address {there} netns {pid}"),
            false,
        )?;
        let ends = [(&outside, 1, false), (&name.to_owned(), 2, true)];
        for (link, last, inside) in ends {
            self.ip(&format!("addr add {}/30 dev {link}", self.address(first + last)), inside)?;
            self.ip(&format!("link set {link} up"), inside)?;
            let (other, ether) = if inside { (1, here) } else { (2, there) };
            let other = self.address(first + other);
            self.ip(&format!("neigh replace {other} lladdr {ether} dev {link} nud permanent"), inside)?;
        }
        Ok(())
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        // A range that is for tests of networks.
        let [low, high, ..] = self.process.to_le_bytes();
        Ipv4Addr::new(198, 18 + (high & 1), low, self.number * 8 + last)
    }

    /// Where a server in there has to listen, to be reached from here.
    pub fn inside(&self) -> Ipv4Addr {
        self.address(6)
    }

    fn ip(&self, arguments: &str, inside: bool) -> Result<String, String> {
        self.run(&format!("ip {arguments}"), inside)
    }

    fn run(&self, words: &str, inside: bool) -> Result<String, String> {
        let enter = format!("nsenter --net=/proc/{}/ns/net ", self.keeper.id());
        let words = format!("{}{words}", if inside { &enter } else { "" });
        let mut words = words.split(' ');
        programs::run(Command::new(words.next().unwrap_or_default()).args(words))
    }

    /// The command, in there.
    pub fn enter(&self, command: &Command) -> Command {
        let mut enter = Command::new("nsenter");
        enter.arg(format!("--net=/proc/{}/ns/net", self.keeper.id())).arg(command.get_program());
        enter.args(command.get_args()).envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(folder) = command.get_current_dir() {
            enter.current_dir(folder);
        }
        enter
    }

    /// The database's URL as it is in there: what comes over the link is passed on to the port that the URL names.
    pub fn reach(&self, url: &str, port: u16) -> String {
        let listener = TcpListener::bind((self.address(1), 0)).unwrap();
        let here = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                pass_on(stream, server);
            }
        });
        url.replace(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string(), &here.to_string())
    }

    /// From now on packets of the database's link get lost.
    pub fn cut(&self, lost: Lost) {
        self.lose(lost, "add");
    }

    /// From now on they don't.
    pub fn mend(&self, lost: Lost) {
        self.lose(lost, "del");
    }

    /// On this end of the link: a sender whose own machine drops its packets notices it.
    fn lose(&self, lost: Lost, act: &str) {
        let way = match lost {
            // What comes from where no way leads to is dropped, too, by `rp_filter`.
            Lost::All => format!("ip route {act} blackhole {}/32", self.address(2)),
            // A queue that takes nothing.
            Lost::Answers => format!("tc qdisc {act} dev {}data root pfifo limit 0", self.link),
        };
        self.run(&way, false).unwrap();
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        drop(self.keeper.kill());
        drop(self.keeper.wait());
        // It would go by itself, some time.
        for name in ["data", "http"] {
            drop(self.ip(&format!("link del {}{name}", self.link), false));
        }
    }
}

/// Both ways, until both are closed.
fn pass_on(one: TcpStream, other: TcpStream) {
    for (mut from, mut to) in [(one.try_clone().unwrap(), other.try_clone().unwrap()), (other, one)] {
        drop(to.set_nodelay(true));
        std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            drop(to.shutdown(Shutdown::Write));
        });
    }
}
