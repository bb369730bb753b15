//! H3 against reference values of another program.

use super::super::reference;
use super::*;

#[test]
fn cells_parents_and_centers_are_those_of_the_python_package_h3() {
    for row in reference::rows(include_str!("../../../tests/data/functions/h3_cells.csv")) {
        let [lon, lat] = reference::numbers(&row[..2]);
        let cell = cell_of(lon, lat, resolution(row[2].parse().unwrap()).unwrap()).unwrap();
        assert_eq!(cell.to_string(), row[3], "{row:?}");
        assert_eq!(parse(&row[3]), Some(cell));
        assert_eq!(parse(&row[3].to_uppercase()), Some(cell));
        let parent = cell.parent(resolution(row[4].parse().unwrap()).unwrap()).unwrap();
        assert_eq!(parent.to_string(), row[5], "{row:?}");
        let [center_lon, center_lat] = reference::numbers(&row[6..]);
        let center = LatLng::from(cell);
        // Near a pole the same place has many longitudes; the two differ by a centimetre there.
        let lon_error = (center.lng() - center_lon).abs() * center_lat.to_radians().cos();
        assert!(lon_error < 1e-7 && (center.lat() - center_lat).abs() < 1e-7, "{row:?}: {center:?}");
    }
}

#[test]
fn disks_and_distances_are_those_of_the_python_package_h3() {
    for row in reference::rows(include_str!("../../../tests/data/functions/h3_disks.csv")) {
        let mut disk: Vec<CellIndex> = parse(&row[0]).unwrap().grid_disk(row[1].parse().unwrap());
        disk.sort_unstable();
        let disk: Vec<String> = disk.iter().map(ToString::to_string).collect();
        assert_eq!(disk.join(" "), row[2], "{row:?}");
    }
    for row in reference::rows(include_str!("../../../tests/data/functions/h3_distances.csv")) {
        let distance = parse(&row[0]).unwrap().grid_distance(parse(&row[1]).unwrap());
        assert_eq!(distance.ok(), row[2].parse().ok(), "{row:?}");
    }
}

#[test]
fn in_sql_cells_are_text_and_what_is_no_cell_yields_null() {
    let cell = "'881942c5d7fffff'";
    reference::check_sql(&[
        ("h3_cell(-1.54176, 53.79796, 8)", "881942c5d7fffff"),
        ("h3_cell(-1.54176, 93.79796, 8)", ""),
        ("h3_cell(-190, 53.79796, 8)", ""),
        ("h3_cell(CAST('NaN' AS DOUBLE), 53.79796, 8)", ""),
        ("h3_cell(0, 0, NULL)", ""),
        ("h3_cell(0, 0, CASE WHEN random() < 2 THEN 16 END)", ""),
        (&format!("h3_valid({cell})"), "true"),
        ("h3_valid('881942c5d7ffff')", "false"),
        ("h3_valid('+81942c5d7fffff')", "false"),
        ("h3_valid('浙')", "false"),
        ("h3_valid(NULL)", ""),
        (&format!("h3_resolution({cell})"), "8"),
        (&format!("h3_parent({cell}, 7)"), "871942c5dffffff"),
        (&format!("h3_parent({cell}, 9)"), ""),
        (&format!("array_length(h3_disk({cell}, 1))"), "7"),
        (&format!("array_position(h3_disk({cell}, 0), {cell})"), "1"),
        ("h3_disk('nothing', 1)", ""),
        (&format!("h3_disk({cell}, CASE WHEN random() < 2 THEN -1 END)"), ""),
        (&format!("h3_distance({cell}, h3_disk({cell}, 3)[1])"), "3"),
        (&format!("h3_distance({cell}, '871942c5dffffff')"), ""),
        (&format!("h3_cell(h3_center_lon({cell}), h3_center_lat({cell}), 8) = {cell}"), "true"),
        (&format!("point_in_polygon(h3_center_lon({cell}), h3_center_lat({cell}), h3_boundary({cell}))"), "true"),
        ("h3_boundary('')", ""),
    ]);
    reference::check_refused(&[
        ("h3_cell(0, 0, 16)", "the resolution must be 0 to 15"),
        ("h3_parent('x', -1)", "the resolution must be 0 to 15"),
        ("h3_disk('x', 11)", "k must be 0 to 10"),
        ("h3_cell(0, 0)", "h3_cell(lon, lat, resolution) cannot take"),
        ("h3_cell('a', 0, 1)", "h3_cell(lon, lat, resolution) cannot take"),
    ]);
}
