//! Ports for processes of the tests'.

use std::{
    net::TcpListener,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// Ports to choose from. Below the range from which clients' own ports come: a connection of another test never has one when
/// a process starts again.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// Whether this machine has an IPv6 loopback: on one without it no port could ever be had there.
static HAS_IPV6: LazyLock<bool> = LazyLock::new(|| TcpListener::bind(("::1", 0)).is_ok());

/// A port that nobody listens on now, of either loopback address; each is handed out once until all have been.
///
/// # Panics
/// When every port is taken.
pub(crate) fn free_port() -> u16 {
    // Test processes side by side begin at different places.
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(std::process::id().wrapping_mul(101)));
    for _ in 0..COUNT {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed) % u32::from(COUNT);
        let port = FIRST + u16::try_from(turn).unwrap();
        if can_listen("127.0.0.1", port) && (!*HAS_IPV6 || can_listen("::1", port)) {
            return port;
        }
    }
    panic!("none of {COUNT} ports from {FIRST} on is free");
}

fn can_listen(address: &str, port: u16) -> bool {
    TcpListener::bind((address, port)).is_ok()
}
