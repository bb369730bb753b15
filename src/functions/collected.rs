//! Aggregates that are computed from all rows of a group at once: `gi_star` and `working_calendar`.
//!
//! Each is one function of distinct rows and how often they occur, whatever the order in which they came. Batch queries
//! collect a group's rows for it; the operators keep them counted, so that rows may disappear again.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::arguments::documentation;
use super::gi_star;
use super::working_days;

/// An aggregate of whole groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Collected {
    /// Getis-Ord Gi* of the cells of a group.
    GiStar,
    /// The calendar of a group's days.
    WorkingCalendar,
}

impl Collected {
    const ALL: [Self; 2] = [Self::GiStar, Self::WorkingCalendar];

    /// The aggregate of a name in SQL.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::GiStar => "gi_star",
            Self::WorkingCalendar => "working_calendar",
        }
    }

    fn documentation(self) -> Documentation {
        match self {
            Self::GiStar => documentation(
                "Statistics",
                "gi_star(cell) or gi_star(cell, value)",
                "Hot spots among the H3 cells of a group: a list, to UNNEST, of a struct a cell in ascending order with cell, n \
                 (BIGINT, its rows) and z (DOUBLE, Getis-Ord Gi* of n); with a value also total (DOUBLE, its sum) and z_total \
                 (Gi* of total). Neighbours are the cells of k-ring 1 and the cell itself, with weight 1; the universe is the \
                 group's cells (Ord and Getis, Local Spatial Autocorrelation Statistics, Geographical Analysis 27, 1995). z is \
                 null where the formula divides by 0. Rows without a cell are left out; null where there is none.",
            ),
            Self::WorkingCalendar => documentation(
                "Calendar",
                "working_calendar(day, working)",
                "A calendar for add_working_days and working_days_between, as BINARY: of each DATE whether it is a working day \
                 (BOOLEAN). A day that is not known as either, or as both, is not covered. Null where no day is covered.",
            ),
        }
    }

    /// The types in which the arguments are taken; none if there is no such call.
    fn taken(self, given: &[DataType]) -> Option<Vec<DataType>> {
        let is_text =
            |t: &DataType| t.is_null() || matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        match (self, given) {
            (Self::GiStar, [cell]) if is_text(cell) => Some(vec![DataType::Utf8]),
            (Self::GiStar, [cell, value]) if is_text(cell) && (value.is_null() || value.is_numeric()) => {
                Some(vec![DataType::Utf8, DataType::Float64])
            }
            (Self::WorkingCalendar, [DataType::Date32 | DataType::Date64, DataType::Boolean]) => {
                Some(vec![DataType::Date32, DataType::Boolean])
            }
            _ => None,
        }
    }

    /// The type of the result for so many arguments.
    fn result_type(self, n_arguments: usize) -> DataType {
        match self {
            Self::GiStar => DataType::List(Arc::new(Field::new_list_field(gi_star::item_type(n_arguments > 1), true))),
            Self::WorkingCalendar => DataType::Binary,
        }
    }

    /// The aggregate of one group, as an array of one row.
    ///
    /// The fields of `rows` are the arguments; `counts` says how often each row occurs, which is left out if that is not
    /// positive.
    pub fn of_group(self, rows: &StructArray, counts: &[i64]) -> Result<ArrayRef> {
        match self {
            Self::GiStar => gi_star::of_group(rows, counts),
            Self::WorkingCalendar => working_days::calendar_of_group(rows, counts),
        }
    }
}

/// The aggregates that DataFusion does not have.
pub fn aggregates() -> Vec<AggregateUDF> {
    let aggregate = |function: Collected| {
        AggregateUDF::new_from_impl(CollectedAggregate {
            function,
            signature: Signature::user_defined(Volatility::Immutable),
            documentation: function.documentation(),
        })
    };
    Collected::ALL.map(aggregate).into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CollectedAggregate {
    function: Collected,
    signature: Signature,
    documentation: Documentation,
}

impl AggregateUDFImpl for CollectedAggregate {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match self.function.taken(types) {
            Some(taken) => Ok(taken),
            None => {
                let types = types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                plan_err!("{} cannot take ({types})", self.documentation.syntax_example)
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(self.function.result_type(types.len()))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(CollectedRows {
            function: self.function,
            fields: fields(args.expr_fields),
            is_distinct: args.is_distinct,
            rows: Vec::new(),
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let rows = DataType::List(Arc::new(row_field(&fields(args.input_fields))));
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "rows"), rows, true))])
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// The fields of a collected row: the arguments by position.
fn fields(arguments: &[FieldRef]) -> Fields {
    let field = |(idx, argument): (usize, &FieldRef)| Field::new(format!("a{idx}"), argument.data_type().clone(), true);
    arguments.iter().enumerate().map(field).collect()
}

fn row_field(fields: &Fields) -> Field {
    Field::new_list_field(DataType::Struct(fields.clone()), true)
}

/// The rows of one group in a batch query.
#[derive(Debug)]
struct CollectedRows {
    function: Collected,
    fields: Fields,
    is_distinct: bool,
    rows: Vec<ArrayRef>,
}

impl CollectedRows {
    fn whole(&self) -> Result<StructArray> {
        let parts: Vec<&dyn Array> = self.rows.iter().map(AsRef::as_ref).collect();
        match parts.is_empty() {
            true => Ok(StructArray::new_null(self.fields.clone(), 0)),
            false => Ok(concat(&parts)?.as_struct().clone()),
        }
    }
}

impl Accumulator for CollectedRows {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if values.first().is_some_and(|v| !v.is_empty()) {
            self.rows.push(Arc::new(StructArray::try_new(self.fields.clone(), values.to_vec(), None)?));
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let rows = self.whole()?;
        let mut counts = vec![1; rows.len()];
        if self.is_distinct && !rows.is_empty() {
            let rows: ArrayRef = Arc::new(rows.clone());
            let converter = arrow::row::RowConverter::new(vec![arrow::row::SortField::new(rows.data_type().clone())])?;
            let encoded = converter.convert_columns(&[rows])?;
            let mut seen = std::collections::HashSet::new();
            counts = encoded.iter().map(|row| i64::from(seen.insert(row.owned()))).collect();
        }
        ScalarValue::try_from_array(&self.function.of_group(&rows, &counts)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.rows.iter().map(|r| r.get_array_memory_size()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let rows: ArrayRef = Arc::new(self.whole()?);
        Ok(vec![SingleRowListArrayBuilder::new(rows).with_nullable(true).build_list_scalar()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(lists) = states.first().and_then(|s| s.as_list_opt::<i32>()) else {
            return exec_err!("{}: a state is not a list of rows", self.function.name());
        };
        self.rows.extend(lists.iter().flatten().filter(|rows| !rows.is_empty()));
        Ok(())
    }
}
