//! Gi* against reference values of another program.

use std::collections::BTreeMap;

use super::super::reference;
use super::*;

/// Cell to (n, EPDO, z of n, z of EPDO), as Python computed them of the accidents of West Yorkshire in 2024.
fn expected() -> BTreeMap<String, [f64; 4]> {
    let rows = reference::rows(include_str!("../../../tests/data/functions/gi_star.csv"));
    rows.into_iter().map(|row| (row[0].clone(), reference::numbers(&row[1..]))).collect()
}

fn of(rows: &[(&str, Option<f64>, i64)]) -> ListArray {
    let cells: arrow::array::StringArray = rows.iter().map(|(cell, _, _)| Some(*cell)).collect();
    let values: Float64Array = rows.iter().map(|(_, value, _)| *value).collect();
    let fields = vec![Field::new("a0", DataType::Utf8, true), Field::new("a1", DataType::Float64, true)];
    let rows_of = StructArray::new(fields.into(), vec![Arc::new(cells), Arc::new(values)], None);
    let counts: Vec<i64> = rows.iter().map(|(_, _, count)| *count).collect();
    of_group(&rows_of, &counts).unwrap().as_list().clone()
}

/// (cell, n, z, total, z_total) of each cell.
fn items(list: &ListArray) -> Vec<(String, i64, Option<f64>, f64, Option<f64>)> {
    let items = list.value(0);
    let items = items.as_struct();
    let float = |idx: usize, row: usize| {
        let column = items.column(idx).as_primitive::<Float64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    (0..items.len())
        .map(|row| {
            let n = items.column(1).as_primitive::<arrow::datatypes::Int64Type>().value(row);
            (
                items.column(0).as_string::<i32>().value(row).to_owned(),
                n,
                float(2, row),
                float(3, row).unwrap(),
                float(4, row),
            )
        })
        .collect()
}

#[test]
fn the_accidents_of_west_yorkshire_have_the_scores_that_python_computed() {
    let expected = expected();
    // n rows a cell, whose values add up to its EPDO; the rows come mixed.
    let mut rows = Vec::new();
    for (cell, [n, epdo, ..]) in &expected {
        rows.push((cell.as_str(), Some(epdo - (n - 1.0)), 1));
        rows.extend((1..*n as usize).map(|_| (cell.as_str(), Some(1.0), 1)));
    }
    fastrand::Rng::with_seed(1).shuffle(&mut rows);
    let found = items(&of(&rows));
    assert_eq!(found.len(), expected.len());
    for ((cell, n, z, total, z_total), (expected_cell, [en, epdo, ez, ez_epdo])) in found.iter().zip(&expected) {
        assert_eq!((cell, *n as f64, *total), (expected_cell, *en, *epdo));
        assert!(
            (z.unwrap() - ez).abs() < 1e-9 && (z_total.unwrap() - ez_epdo).abs() < 1e-9,
            "{cell}: {z:?} {z_total:?}"
        );
    }
    // The golden values of the domain's description.
    let z_of = |cell: &str| found.iter().find(|(c, ..)| c == cell).map(|(_, _, z, ..)| z.unwrap()).unwrap();
    assert!((z_of("881942cce5fffff") - 13.1368).abs() < 5e-5);
    assert_eq!(found.iter().filter(|(_, _, z, ..)| z.unwrap() > 2.576).count(), 117);
    assert_eq!(found.iter().filter(|(_, _, _, _, z)| z.unwrap() > 1.96).count(), 145);
}

#[test]
fn the_order_and_the_division_of_rows_do_not_change_a_bit() {
    let cells: Vec<String> = expected().into_keys().take(60).collect();
    let mut rng = fastrand::Rng::with_seed(4);
    let mut rows: Vec<(&str, Option<f64>, i64)> = Vec::new();
    for _ in 0..500 {
        rows.push((&cells[rng.usize(0..60)], Some([0.1, 0.3, 1e-9, 7.7][rng.usize(0..4)]), 1));
    }
    let whole = of(&rows);
    rng.shuffle(&mut rows);
    assert_eq!(of(&rows), whole);
    // Counted, with rows that came and went.
    let mut counted: BTreeMap<(&str, u64), i64> = BTreeMap::new();
    for (cell, value, _) in &rows {
        *counted.entry((cell, value.unwrap().to_bits())).or_default() += 1;
    }
    let mut counted: Vec<_> = counted.into_iter().map(|((c, v), n)| (c, Some(f64::from_bits(v)), n)).collect();
    counted.push((&cells[0], Some(99.0), 0));
    counted.push((&cells[1], Some(99.0), -2));
    assert_eq!(of(&counted), whole);
}

#[test]
fn where_nothing_differs_there_is_no_score() {
    let cell = "881942cce5fffff";
    assert_eq!(items(&of(&[(cell, Some(2.0), 3)])), [(cell.into(), 3, None, 6.0, None)]);
    // Equal values, and cells of which each is the neighbour of all.
    let ring: Vec<String> = parse(cell).unwrap().grid_disk::<Vec<_>>(1).iter().map(ToString::to_string).collect();
    let equal: Vec<_> = ring.iter().map(|c| (c.as_str(), Some(0.1), 3)).collect();
    assert!(items(&of(&equal)).iter().all(|(_, _, z, _, z_total)| z.is_none() && z_total.is_none()));
    let mut differ = equal;
    differ[0].2 = 7;
    let center = items(&of(&differ)).into_iter().find(|(c, ..)| c == cell).unwrap();
    assert_eq!((center.2, center.4), (None, None));
    assert!(items(&of(&differ)).iter().any(|(_, _, z, ..)| z.is_some()));
}

#[test]
fn rows_without_a_cell_are_left_out_and_without_a_value_add_nothing() {
    let (near, far) = ("881942004dfffff", "881942cce5fffff");
    let found = items(&of(&[("no cell", Some(1.0), 1), (near, None, 2), (far, Some(f64::NAN), 1)]));
    assert_eq!(found.iter().map(|(cell, n, ..)| (cell.as_str(), *n)).collect::<Vec<_>>(), [(near, 2), (far, 1)]);
    assert_eq!((found[0].3, found[0].4), (0.0, None));
    assert!(found[1].3.is_nan() && found[1].4.is_none() && found[1].2.is_some());
    assert!(of(&[("", None, 1)]).is_null(0));
    assert!(of(&[]).is_null(0));
}

#[test]
fn in_sql_it_groups_filters_and_unnests() {
    let ctx = reference::session();
    let rows = "(VALUES ('881942cce5fffff', 1, 1), ('881942cdd9fffff', 5, 1), ('881942cdd9fffff', 5, 1), ('881942c58bfffff', 2, 2),
                 (NULL, 1, 1)) AS v(cell, weight, g)";
    for (sql, expected) in [
        ("SELECT array_length(gi_star(cell, weight)) FROM {}", "3"),
        (
            "SELECT s.n || ' ' || s.total FROM (SELECT unnest(gi_star(cell, weight)) AS s FROM {} WHERE g = 1) AS x WHERE s.cell = '881942cdd9fffff'",
            "2 10.0",
        ),
        (
            "SELECT s.n || ' ' || s.total FROM (SELECT unnest(gi_star(DISTINCT cell, weight)) AS s FROM {}) AS x WHERE s.cell = '881942cdd9fffff'",
            "1 5.0",
        ),
        ("SELECT array_length(gi_star(cell) FILTER (WHERE weight > 1)) FROM {}", "2"),
        ("SELECT gi_star(cell) FROM {} WHERE false", ""),
        ("SELECT sum(array_length(l)) FROM (SELECT gi_star(cell, weight) AS l FROM {} GROUP BY g) AS a", "3"),
    ] {
        assert_eq!(reference::value(&ctx, &sql.replace("{}", rows)).as_deref(), Ok(expected), "{sql}");
    }
    let error = reference::value(&ctx, "SELECT gi_star(1)").unwrap_err();
    assert!(error.contains("gi_star(cell) or gi_star(cell, value) cannot take"), "{error}");
}
