//! The real process: its command line, its signals, its files and its sockets, from outside.

mod configuration;
mod directory;
mod disk;
mod hostile;
mod kills;
mod page;
mod person;
mod product;
mod provider;
mod restart;
mod stop;
