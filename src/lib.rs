//! Curb runs SQL rules over Kafka topics, exactly once.
// The modules in the order in which data flows through them, upwards from the words they share.
pub mod catalog;
pub mod dialect;
pub mod format;
pub mod functions;
pub mod operators;
pub mod plan;
pub mod state;
pub mod stream;
