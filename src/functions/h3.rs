//! H3, the hexagonal grid of the earth: cells of points, their neighbours and parents.
//!
//! Cells are text, the index in lower-case hexadecimal, as every H3 library writes them.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{BooleanArray, Float64Array, Int64Array, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::ScalarUDF;
use h3o::{CellIndex, LatLng, Resolution};

use super::position::{is_latitude, is_longitude};
use super::scalar::{Argument, Constants, Definition, Rows, any, define};

/// The finest resolution: cells of about one square metre.
const RESOLUTION_MAX: i64 = 15;
/// How far `h3_disk` reaches: 331 cells.
const DISK_MAX: i64 = 10;
/// The length of a cell as text.
const CELL_BYTES: usize = 15;

/// `h3_cell`, `h3_valid`, `h3_resolution`, `h3_parent`, `h3_disk`, `h3_distance`, `h3_center_lon`, `h3_center_lat` and
/// `h3_boundary`.
pub(super) fn functions() -> Vec<ScalarUDF> {
    let family = "Places";
    define([
        Definition {
            name: "h3_cell",
            family,
            syntax: "h3_cell(lon, lat, resolution)",
            description: "The H3 cell that holds a WGS84 position in degrees, as VARCHAR. Resolutions reach from 0 to 15; 8 has \
                          cells of 0.74, 9 of 0.11 square kilometres. Null for null and outside the ranges.",
            arguments: &[Argument::Number, Argument::Number, Argument::Integer],
            yields: || DataType::Utf8,
            refuses: |constants| refuse_resolution(constants, 2),
            evaluate: |rows| {
                let (lons, lats, resolutions) = (rows.numbers(0)?, rows.numbers(1)?, rows.integers(2)?);
                rows.write(|row, out| {
                    let cell = cell_of(lons.get(row)?, lats.get(row)?, resolution(resolutions.get(row)?)?)?;
                    write!(out, "{cell}").ok()
                })
            },
        },
        Definition {
            name: "h3_valid",
            family,
            syntax: "h3_valid(cell)",
            description: "Whether a text is an H3 cell, as BOOLEAN. Null for null.",
            arguments: &[Argument::Text],
            yields: || DataType::Boolean,
            refuses: any,
            evaluate: |rows| {
                let cells = rows.texts(0)?;
                rows.map::<BooleanArray, _>(|row| cells.get(row).map(|cell| parse(cell).is_some()))
            },
        },
        Definition {
            name: "h3_resolution",
            family,
            syntax: "h3_resolution(cell)",
            description: "The resolution of an H3 cell, 0 to 15, as BIGINT. Null for null and for what is no cell.",
            arguments: &[Argument::Text],
            yields: || DataType::Int64,
            refuses: any,
            evaluate: |rows| {
                let cells = rows.texts(0)?;
                rows.map::<Int64Array, _>(|row| Some(i64::from(u8::from(parse(cells.get(row)?)?.resolution()))))
            },
        },
        Definition {
            name: "h3_parent",
            family,
            syntax: "h3_parent(cell, resolution)",
            description: "The H3 cell of a coarser (or the same) resolution that a cell belongs to, as VARCHAR. It does not \
                          contain the cell exactly: aggregate from positions where that matters. Null for null, for what is \
                          no cell, and for a finer resolution.",
            arguments: &[Argument::Text, Argument::Integer],
            yields: || DataType::Utf8,
            refuses: |constants| refuse_resolution(constants, 1),
            evaluate: |rows| {
                let (cells, resolutions) = (rows.texts(0)?, rows.integers(1)?);
                rows.write(|row, out| {
                    let parent = parse(cells.get(row)?)?.parent(resolution(resolutions.get(row)?)?)?;
                    write!(out, "{parent}").ok()
                })
            },
        },
        Definition {
            name: "h3_disk",
            family,
            syntax: "h3_disk(cell, k)",
            description: "The H3 cells within k steps (0 to 10) of a cell, itself included, as a list of VARCHAR in ascending \
                          order; 7 cells for k = 1. Null for null, for what is no cell, and for other k.",
            arguments: &[Argument::Text, Argument::Integer],
            yields: || DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
            refuses: |constants| match constants.integer(1) {
                Some(k) if !(0..=DISK_MAX).contains(&k) => Some("k must be 0 to 10"),
                _ => None,
            },
            evaluate: disks,
        },
        Definition {
            name: "h3_distance",
            family,
            syntax: "h3_distance(a, b)",
            description: "The number of steps from an H3 cell to another of the same resolution, as BIGINT. Null for null, for \
                          what is no cell, and where H3 finds no path: far apart, or with a pentagon between them.",
            arguments: &[Argument::Text, Argument::Text],
            yields: || DataType::Int64,
            refuses: any,
            evaluate: |rows| {
                let (from, to) = (rows.texts(0)?, rows.texts(1)?);
                rows.map::<Int64Array, _>(|row| {
                    let (from, to) = (parse(from.get(row)?)?, parse(to.get(row)?)?);
                    from.grid_distance(to).ok().map(i64::from)
                })
            },
        },
        Definition {
            name: "h3_center_lon",
            family,
            syntax: "h3_center_lon(cell)",
            description: "The longitude of an H3 cell's center in degrees, as DOUBLE. Null for null and for what is no cell.",
            arguments: &[Argument::Text],
            yields: || DataType::Float64,
            refuses: any,
            evaluate: |rows| {
                let cells = rows.texts(0)?;
                rows.map::<Float64Array, _>(|row| Some(LatLng::from(parse(cells.get(row)?)?).lng()))
            },
        },
        Definition {
            name: "h3_center_lat",
            family,
            syntax: "h3_center_lat(cell)",
            description: "The latitude of an H3 cell's center in degrees, as DOUBLE. Null for null and for what is no cell.",
            arguments: &[Argument::Text],
            yields: || DataType::Float64,
            refuses: any,
            evaluate: |rows| {
                let cells = rows.texts(0)?;
                rows.map::<Float64Array, _>(|row| Some(LatLng::from(parse(cells.get(row)?)?).lat()))
            },
        },
        Definition {
            name: "h3_boundary",
            family,
            syntax: "h3_boundary(cell)",
            description: "The outline of an H3 cell as WKT, 'POLYGON((lon lat, ..))' in degrees, as VARCHAR. Null for null and \
                          for what is no cell.",
            arguments: &[Argument::Text],
            yields: || DataType::Utf8,
            refuses: any,
            evaluate: |rows| {
                let cells = rows.texts(0)?;
                rows.write(|row, out| write_boundary(parse(cells.get(row)?)?, out))
            },
        },
    ])
}

/// The corners of a cell as longitude and latitude in degrees; none for what is no cell.
pub fn cell_ring(cell: &str) -> Option<Vec<[f64; 2]>> {
    Some(parse(cell)?.boundary().iter().map(|corner| [corner.lng(), corner.lat()]).collect())
}

/// The cell that holds a WGS84 position in degrees; none outside the ranges.
pub fn cell_at(lon: f64, lat: f64, resolution: u8) -> Option<String> {
    Some(cell_of(lon, lat, Resolution::try_from(resolution).ok()?)?.to_string())
}

/// Reads a cell from text; none if it is not one.
pub(super) fn parse(text: &str) -> Option<CellIndex> {
    let is_hex = text.bytes().all(|b| b.is_ascii_hexdigit()) && text.len() <= 16;
    if is_hex { CellIndex::try_from(u64::from_str_radix(text, 16).ok()?).ok() } else { None }
}

fn resolution(number: i64) -> Option<Resolution> {
    Resolution::try_from(u8::try_from(number).ok()?).ok()
}

fn refuse_resolution(constants: &Constants<'_>, idx: usize) -> Option<&'static str> {
    match constants.integer(idx) {
        Some(resolution) if !(0..=RESOLUTION_MAX).contains(&resolution) => Some("the resolution must be 0 to 15"),
        _ => None,
    }
}

fn cell_of(lon: f64, lat: f64, resolution: Resolution) -> Option<CellIndex> {
    if !is_longitude(lon) || !is_latitude(lat) {
        return None;
    }
    Some(LatLng::new(lat, lon).ok()?.to_cell(resolution))
}

fn disks(rows: &Rows) -> Result<arrow::array::ArrayRef> {
    let (cells, ks) = (rows.texts(0)?, rows.integers(1)?);
    let mut lists = ListBuilder::with_capacity(StringBuilder::new(), rows.len());
    let mut text = String::new();
    let mut n_cells = 0usize;
    for row in 0..rows.len() {
        let center = cells.get(row).and_then(parse);
        let k = ks.get(row).filter(|k| (0..=DISK_MAX).contains(k)).and_then(|k| u32::try_from(k).ok());
        let Some((center, k)) = center.zip(k) else {
            lists.append_null();
            continue;
        };
        let mut disk: Vec<CellIndex> = center.grid_disk(k);
        disk.sort_unstable();
        n_cells += disk.len();
        // Offsets into the text have 32 bits.
        if n_cells > i32::MAX as usize / CELL_BYTES {
            return exec_err!("h3_disk: {} rows have more cells than fit into one batch", rows.len());
        }
        for cell in disk {
            text.clear();
            let _ = write!(text, "{cell}");
            lists.values().append_value(&text);
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

fn write_boundary(cell: CellIndex, out: &mut String) -> Option<()> {
    let boundary = cell.boundary();
    let corners = boundary.iter().chain(boundary.first());
    out.push_str("POLYGON((");
    for (idx, corner) in corners.enumerate() {
        let separator = if idx == 0 { "" } else { ", " };
        write!(out, "{separator}{} {}", corner.lng(), corner.lat()).ok()?;
    }
    out.push_str("))");
    Some(())
}

#[cfg(test)]
mod tests;
