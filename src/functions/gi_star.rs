//! Getis-Ord Gi*: how far the sum over a cell and its neighbours lies from what chance would make it, in standard deviations.
//!
//! With x the values of the group's n cells, W the number of them within k-ring 1 of a cell, itself included:
//! z = (sum of their x - mean(x) W) / (s sqrt((n W - W^2) / (n - 1))), s^2 = mean(x^2) - mean(x)^2
//! (Ord and Getis, Local Spatial Autocorrelation Statistics, Geographical Analysis 27, 1995, equation 14, with binary weights).

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringBuilder, StructArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Float64Type};
use datafusion::common::{Result, exec_err};
use h3o::CellIndex;

use super::h3::parse;

/// What the result holds of each cell.
pub(super) fn item_type(with_total: bool) -> DataType {
    let mut fields = vec![
        Field::new("cell", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("z", DataType::Float64, true),
    ];
    if with_total {
        fields.push(Field::new("total", DataType::Float64, true));
        fields.push(Field::new("z_total", DataType::Float64, true));
    }
    DataType::Struct(Fields::from(fields))
}

/// Gi* of one group of (cell) or (cell, value), as a list array of one row.
pub(super) fn of_group(rows: &StructArray, counts: &[i64]) -> Result<ArrayRef> {
    let Some(cells) = rows.columns().first().and_then(|c| c.as_string_opt::<i32>()) else {
        return exec_err!("gi_star: the cells are not text");
    };
    let values = rows.columns().get(1).map(|v| v.as_primitive_opt::<Float64Type>());
    if values.is_some_and(|v| v.is_none()) {
        return exec_err!("gi_star: the values are not DOUBLE");
    }
    let values = values.flatten();
    let mut entries: Vec<Entry> = Vec::new();
    for (row, count) in counts.iter().enumerate().take(cells.len()) {
        let cell = if cells.is_valid(row) { parse(cells.value(row)) } else { None };
        if let (Some(cell), true) = (cell, *count > 0) {
            let value = values.filter(|v| v.is_valid(row)).map(|v| v.value(row));
            entries.push(Entry { cell, value, count: *count });
        }
    }
    list(&Universe::new(entries), values.is_some())
}

/// Rows of one cell with one value.
struct Entry {
    cell: CellIndex,
    value: Option<f64>,
    count: i64,
}

/// The cells of a group in ascending order, with what was counted in each.
struct Universe {
    cells: Vec<CellIndex>,
    n: Vec<i64>,
    totals: Vec<f64>,
}

impl Universe {
    /// Adds up in an order that does not depend on how the rows came: sums of floats do.
    fn new(mut entries: Vec<Entry>) -> Self {
        let bits = |value: Option<f64>| value.map(f64::to_bits);
        entries.sort_unstable_by_key(|e| (e.cell, bits(e.value)));
        let mut universe = Self { cells: Vec::new(), n: Vec::new(), totals: Vec::new() };
        for equal in entries.chunk_by(|a, b| (a.cell, bits(a.value)) == (b.cell, bits(b.value))) {
            let Some(first) = equal.first() else { continue };
            let count = equal.iter().fold(0i64, |sum, e| sum.saturating_add(e.count));
            if universe.cells.last() != Some(&first.cell) {
                universe.cells.push(first.cell);
                universe.n.push(0);
                universe.totals.push(0.0);
            }
            if let (Some(n), Some(total)) = (universe.n.last_mut(), universe.totals.last_mut()) {
                *n = n.saturating_add(count);
                *total += first.value.unwrap_or(0.0) * count as f64;
            }
        }
        universe
    }

    /// The places of a cell and of its neighbours, as far as they are in the universe.
    fn near(&self, cell: CellIndex) -> impl Iterator<Item = usize> {
        let disk: Vec<CellIndex> = cell.grid_disk(1);
        disk.into_iter().filter_map(|near| self.cells.binary_search(&near).ok())
    }
}

/// Gi* of values of cells; none where the formula divides by zero, or a value is not finite.
fn z_scores(universe: &Universe, x: &[f64]) -> Vec<Option<f64>> {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    // The mean of squared differences does not cancel as the difference of mean squares does.
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    // Rounding may leave a variance to equal values.
    let all_equal = x.iter().zip(x.iter().skip(1)).all(|(a, b)| a == b);
    let score = |cell: &CellIndex| {
        let (mut sum, mut weight) = (0.0, 0.0);
        for near in universe.near(*cell) {
            sum += x.get(near).copied().unwrap_or_default();
            weight += 1.0;
        }
        let denominator = (variance * (n * weight - weight * weight) / (n - 1.0)).sqrt();
        let z = (sum - mean * weight) / denominator;
        (!all_equal && denominator > 0.0 && z.is_finite()).then_some(z)
    };
    universe.cells.iter().map(score).collect()
}

fn list(universe: &Universe, with_total: bool) -> Result<ArrayRef> {
    let item = item_type(with_total);
    let field = Arc::new(Field::new_list_field(item.clone(), true));
    let n_cells = universe.cells.len();
    let DataType::Struct(fields) = item else { return exec_err!("gi_star yields structs") };
    if n_cells == 0 {
        return Ok(new_null_array(&DataType::List(field), 1));
    }
    let mut cells = StringBuilder::new();
    let mut text = String::new();
    for cell in &universe.cells {
        text.clear();
        let _ = write!(text, "{cell}");
        cells.append_value(&text);
    }
    let n: Vec<f64> = universe.n.iter().map(|n| *n as f64).collect();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(cells.finish()),
        Arc::new(Int64Array::from(universe.n.clone())),
        Arc::new(Float64Array::from(z_scores(universe, &n))),
    ];
    if with_total {
        columns.push(Arc::new(Float64Array::from(universe.totals.clone())));
        columns.push(Arc::new(Float64Array::from(z_scores(universe, &universe.totals))));
    }
    let structs = StructArray::try_new(fields, columns, None)?;
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths([n_cells]), Arc::new(structs), None)?))
}

#[cfg(test)]
mod tests;
