//! A way to a server of this machine that may be shut, or lose what is sent on it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A port that leads to another one, until this process ends.
pub struct Proxy {
    port: u16,
    way: Arc<Way>,
}

#[derive(Default)]
struct Way {
    open: AtomicBool,
    /// Connections that were made before the last freeze have a lower number.
    freezes: AtomicUsize,
    /// What is asked with this next is not answered.
    unanswered: Mutex<Option<&'static str>>,
}

impl Proxy {
    /// A new one; who connects is turned away while it is not open.
    pub fn to(port: u16, open: bool) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let way = Arc::new(Way { open: AtomicBool::new(open), ..Way::default() });
        let proxy = Proxy { port: listener.local_addr().unwrap().port(), way: Arc::clone(&way) };
        thread::spawn(move || {
            for one in listener.incoming().flatten().filter(|_| way.open.load(Ordering::SeqCst)) {
                if let Ok(other) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                    pass_on(&one, &other, &way);
                }
            }
        });
        proxy
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn open(&self) {
        self.way.open.store(true, Ordering::SeqCst);
    }

    /// Passes the next request on that has this word in it, and closes its connection instead of answering.
    pub fn lose_the_answer_to(&self, word: &'static str) {
        *self.way.unanswered.lock().unwrap() = Some(word);
    }

    /// Whether that has happened.
    pub fn has_lost_it(&self) -> bool {
        self.way.unanswered.lock().unwrap().is_none()
    }

    /// Loses from now on whatever is sent on the connections that are there; they stay open, and new ones are whole.
    pub fn freeze(&self) {
        self.way.freezes.fetch_add(1, Ordering::SeqCst);
    }
}

fn pass_on(one: &TcpStream, other: &TcpStream, way: &Arc<Way>) {
    let number = way.freezes.load(Ordering::SeqCst);
    let cut = Arc::new(AtomicBool::new(false));
    for (from, to, asks) in [(one, other, true), (other, one, false)] {
        let (mut from, mut to, way) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(way));
        drop(to.set_nodelay(true));
        let cut = Arc::clone(&cut);
        thread::spawn(move || {
            let is_frozen = || way.freezes.load(Ordering::SeqCst) > number;
            let mut buffer = [0; 16 << 10];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                if asks {
                    let mut unanswered = way.unanswered.lock().unwrap();
                    let has = |word: &str| buffer[..length].windows(word.len()).any(|bytes| bytes == word.as_bytes());
                    if unanswered.is_some_and(has) {
                        *unanswered = None;
                        cut.store(true, Ordering::SeqCst);
                    }
                } else if cut.load(Ordering::SeqCst) {
                    drop(to.shutdown(Shutdown::Both));
                    drop(from.shutdown(Shutdown::Both));
                    return;
                }
                if !is_frozen() && to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            if !is_frozen() {
                drop(to.shutdown(Shutdown::Write));
                return;
            }
            // Its end gets lost too.
            thread::park();
        });
    }
}
