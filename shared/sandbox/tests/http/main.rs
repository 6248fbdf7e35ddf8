//! The sandbox over a real loopback socket, as browsers and clients meet it.

// Always true here; it tells clippy that helpers are tests too, and may unwrap.
#[cfg(test)]
mod api;
#[cfg(test)]
mod control;
#[cfg(test)]
mod cookies;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod login;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod state;
