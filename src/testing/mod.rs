//! What stands in for the roadside: the tests of a rule pack, and a seeded simulation of devices, people and their rides.

mod simulation;
mod slt;

pub use simulation::{SimulatedRecord, Simulation, SimulationSettings};
pub use slt::{DiffLine, Failure, FileReport, LANGUAGE, TestReport, run_tests, test_files, tests_folder};
