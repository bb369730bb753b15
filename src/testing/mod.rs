//! What stands in for the roadside: a seeded simulation of devices, people and their rides.

mod simulation;

pub use simulation::{SimulatedRecord, Simulation, SimulationSettings};
