//! One file per stateful node: from DataFusion's logical node to the operator's spec.

pub(super) mod aggregate;
mod buckets;
mod final_rows;
mod group_step;
mod interval_bounds;
mod interval_join;
pub(super) mod join;
pub(super) mod pace;
mod session;
pub(super) mod table_window;
pub(super) mod temporal_filter;
