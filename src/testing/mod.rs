//! What stands in for the roadside: the tests of a rule pack, two packs over one history, where a row comes from, the sources that a pack's scripts
//! make up, and a seeded simulation of devices, people and their rides for the demo.

mod backtest;
mod derivation;
mod generator;
mod readable;
mod simulation;
mod slt;

pub use backtest::{BacktestOptions, RowCounts, RowDifference, SinkDifference, backtest};
pub use derivation::{Derivation, DerivedRow, History, Inquiry, SourceRecord, is_about};
pub use generator::{Generated, GeneratorError, GeneratorSettings, generate};
pub use readable::Readable;
pub use simulation::{SimulatedRecord, Simulation, SimulationSettings};
pub use slt::{DiffLine, Failure, FileReport, LANGUAGE, TestReport, run_tests, test_files, tests_folder};
