//! Curb runs SQL rules over Kafka topics, exactly once.
// The modules in the order in which data flows through them, upwards from the words they share.
pub mod stream;
pub mod metrics;
pub mod dialect;
pub mod functions;
pub mod format;
pub mod state;
pub mod kafka;
pub mod local;
pub mod operators;
pub mod catalog;
pub mod plan;
pub mod engine;
pub mod server;
pub mod testing;
pub mod cli;
