//! One file per stateful node: from DataFusion's logical node to the operator's spec.

pub(super) mod aggregate;
mod group_step;
pub(super) mod join;
mod running_function;
mod running_window;
pub(super) mod table_window;
