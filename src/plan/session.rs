//! The DataFusion session that packs are planned in.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use chrono_tz::Tz;
use datafusion::common::Result;
use datafusion::config::ConfigOptions;
use datafusion::execution::{FunctionRegistry, SessionStateBuilder};
use datafusion::logical_expr::{
    ColumnarValue, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::optimizer::{Analyzer, Optimizer};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{Query, Statement};
use futures::executor::block_on;

use super::bucket_marks::expand_bucket_marks;
use super::forgiving::forgiving;
use super::interval_product::IntervalProducts;
use super::pseudonyms::with_key_ids;
use super::top_n::limits_to_ranks;
use crate::functions::PseudonymKeys;

/// The function that stands for `FOR SYSTEM_TIME AS OF` in the condition of a join until the cut.
pub(super) const AS_OF: &str = "as_of";

/// The function that stands for `arrival` in the ORDER BY of OVER: the order in which rows are handled.
pub(super) const ARRIVAL: &str = "arrival";

/// Rules that hide what is asked for. The first: `count(DISTINCT x)` has one shape whatever stands beside it, so that there is
/// one operator for it. The second makes an inner join under DISTINCT one that keeps rows of one side, also where that is a
/// table and the other a stream, of which nothing of the kind can be kept.
const DROPPED_RULES: [&str; 2] = ["single_distinct_aggregation_to_group_by", "eliminate_join"];

/// A session with our functions and with the stock rules, less those that hide state from the cut.
pub(super) fn session(zone: Tz, keys: &Arc<PseudonymKeys>) -> SessionContext {
    let mut options = ConfigOptions::new();
    options.sql_parser.collect_spans = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.time_zone = Some(zone.name().to_owned());
    // An uncorrelated scalar subquery would stay inside an expression, where the cut does not see it.
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    let config =
        SessionConfig::from(options).with_target_partitions(1).with_batch_size(65_536).with_information_schema(false);
    let dropped: HashSet<&str> = DROPPED_RULES.into();
    let rules = Optimizer::new().rules.into_iter().filter(|r| !dropped.contains(r.name())).collect();
    let state =
        SessionStateBuilder::new().with_default_features().with_config(config).with_optimizer_rules(rules).build();
    let mut ctx = SessionContext::new_with_state(state);
    for function in crate::functions::all(zone) {
        ctx.register_udf(function);
    }
    ctx.register_udf(crate::functions::pseudonym(keys.clone()));
    super::timestamps::register(&ctx);
    ctx.register_udf(ScalarUDF::from(Arrival { signature: Signature::nullary(Volatility::Volatile) }));
    for mark in crate::functions::bucket_marks(zone) {
        ctx.register_udf(mark);
    }
    for function in crate::functions::aggregates() {
        ctx.register_udaf(function);
    }
    // Only a session that takes no planners refuses one, and ours takes them.
    let _ = ctx.register_expr_planner(Arc::new(IntervalProducts::default()));
    ctx.register_udf(ScalarUDF::from(AsOf { signature: Signature::any(2, Volatility::Volatile) }));
    ctx
}

/// Plans the syntax of a query.
///
/// The types of the plan are settled, as those of UNION, so that who reads the definition sees the types that it will have.
pub(super) fn read(
    ctx: &SessionContext,
    zone: Tz,
    keys: &PseudonymKeys,
    query: &Query,
) -> super::error::Result<LogicalPlan> {
    let statement = Statement::Query(Box::new(query.clone()));
    let plan = block_on(ctx.state().statement_to_plan(DataFusionStatement::Statement(Box::new(statement))))?;
    let plan = super::distinct_on::rewrite(plan)?;
    let plan = limits_to_ranks(plan)?;
    let rules = Analyzer::with_rules(vec![Arc::new(TypeCoercion::new())]);
    let plan = rules.execute_and_check(plan, ctx.state().config_options(), |_, _| {})?;
    forgiving(expand_bucket_marks(with_key_ids(plan, keys)?, zone)?)
}

/// `as_of(time, valid_from)`: a marker. Volatile, so that no rule moves or folds it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AsOf {
    signature: Signature,
}

impl ScalarUDFImpl for AsOf {
    fn name(&self) -> &str {
        AS_OF
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))))
    }
}

/// `arrival()`: a marker. Volatile, so that no rule takes it for a constant.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Arrival {
    signature: Signature,
}

impl ScalarUDFImpl for Arrival {
    fn name(&self) -> &str {
        ARRIVAL
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Int64(Some(0))))
    }
}
