//! What tests start, ask and wait for.

/// A small blocking HTTP client.
pub mod client;
/// Real database servers.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "some of it is for tests that run on Linux alone"))]
pub mod databases;
/// Libraries with executors, built from source.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "some of it is for tests that run on Linux alone"))]
pub mod libraries;
/// A jobmgr process of either role.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "some of it is for tests that run on Linux alone"))]
pub mod process;
/// Jobs' processes, found by what their environment names.
#[cfg(target_os = "linux")]
pub mod processes;
/// Programs that tests need and a machine may lack.
pub mod programs;
/// A way to a server that may be shut, or lose what is sent on it.
#[cfg(target_os = "linux")]
pub mod proxy;
/// A real S3 server.
pub mod s3;
/// A real jobmgr process.
#[cfg_attr(windows, allow(dead_code, reason = "some of it is for tests that run on Linux alone"))]
pub mod server;
/// Server-Sent Events.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "some of it is for tests that run on Linux alone"))]
pub mod sse;

/// A port of this machine at which nobody listens as long as this is held. One that is free might be given to others.
pub fn nobody() -> tokio::net::TcpSocket {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket
}

/// Whether there is time for more: `JOBMGR_LONG_TESTS=1`.
pub fn long() -> bool {
    std::env::var("JOBMGR_LONG_TESTS").is_ok_and(|long| long == "1")
}
