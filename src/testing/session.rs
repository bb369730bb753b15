//! A DataFusion session for batch SQL beside a pack: the queries of tests, and the scripts of simulations.

use std::sync::Arc;

use chrono_tz::Tz;
use datafusion::config::ConfigOptions;
use datafusion::execution::FunctionRegistry;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::plan::IntervalProducts;

/// A session with the functions of a pack, whose calendar is that of the zone.
pub(super) fn batch_session(zone: Tz) -> SessionContext {
    let mut options = ConfigOptions::new();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.time_zone = Some(zone.name().to_owned());
    let mut ctx = SessionContext::new_with_config(SessionConfig::from(options).with_target_partitions(1));
    // Only a session that takes no planners refuses one, and this one takes them.
    let _ = ctx.register_expr_planner(Arc::new(IntervalProducts::default()));
    for function in crate::functions::all(zone) {
        ctx.register_udf(function);
    }
    for function in crate::functions::aggregates() {
        ctx.register_udaf(function);
    }
    ctx
}
