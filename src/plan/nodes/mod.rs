//! One file per stateful node: from DataFusion's logical node to the operator's spec.

pub(super) mod aggregate;
mod buckets;
pub(super) mod constant;
mod final_rows;
pub(super) mod first_rows;
mod group_step;
mod interval_bounds;
mod interval_join;
pub(super) mod join;
mod join_keys;
pub(super) mod pace;
mod running_function;
mod running_window;
mod session;
pub(super) mod table_window;
pub(super) mod temporal_filter;
mod top_rows;
