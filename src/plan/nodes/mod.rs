//! One file per stateful node: from DataFusion's logical node to the operator's spec.

pub(super) mod aggregate;
pub(super) mod constant;
pub(super) mod first_rows;
mod group_step;
pub(super) mod join;
mod join_keys;
pub(super) mod table_window;
