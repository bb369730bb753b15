//! One file per stateful node: from DataFusion's logical node to the operator's spec.

pub(super) mod aggregate;
pub(super) mod join;
pub(super) mod table_window;
