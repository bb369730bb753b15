//! The functions that rules may call beside DataFusion's own: calendar, working days, identity, places and statistics.
//!
//! All of them are total: a null argument yields null, and so does a value for which there is no answer (an instant outside
//! the years 1 to 9999). No row makes a plan fail. Calendar functions follow the zone of a zoned timestamp, else the pack's.
//!
//! Of DataFusion's own arithmetic, `ts + INTERVAL '30 minutes'` is safe on zoned timestamps, because hours, minutes and
//! seconds are added to the instant. `ts + INTERVAL '1 day'` and `'1 month'` are not: they fail at run time where the result
//! falls into a daylight-saving change. `add_days` and `add_months` are their replacement.

mod arguments;
mod bucket;
mod calendar;
mod chainage;
mod civil;
mod collected;
mod gi_star;
mod h3;
mod hopping;
mod memo;
mod plate;
mod polygon;
mod polygon_text;
mod position;
mod pseudonym;
#[cfg(test)]
mod reference;
mod resident_id;
mod rounding;
mod scalar;
mod statistics;
mod tail;
mod header;
mod text;
mod tumble;
mod working_calendar;
mod working_days;
mod zone;

use std::sync::Arc;

use chrono_tz::Tz;
use datafusion::logical_expr::ScalarUDF;

pub use bucket::{BUCKETS_MAX, Buckets, Hop, TooManyBuckets, Width, WidthError};
pub use collected::{Collected, aggregates};
pub use h3::{cell_at, cell_ring};
pub use hopping::{bucket_marks, hop_end, hop_pane, hop_starts, session_end, session_instant};
pub use pseudonym::{KeyFileError, PSEUDONYM, PseudonymKeys, pseudonym};
pub use tumble::window_end;
pub use zone::Zone;

/// All scalar functions, for a pack whose time zone is `zone`; [`pseudonym`] with the key of tests.
pub fn all(zone: Tz) -> Vec<ScalarUDF> {
    let mut functions = tumble::functions(zone);
    functions.extend(hopping::functions(zone));
    functions.extend(rounding::functions(zone));
    functions.extend(calendar::functions(zone));
    functions.extend(working_days::functions(zone));
    functions.extend(text::functions());
    functions.extend(resident_id::functions());
    functions.extend(plate::functions());
    functions.extend(h3::functions());
    functions.extend(position::functions());
    functions.extend(polygon::functions());
    functions.extend(chainage::functions());
    functions.extend(statistics::functions());
    functions.extend(header::functions());
    functions.push(pseudonym(Arc::new(PseudonymKeys::of_tests())));
    functions
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use datafusion::logical_expr::Documentation;
    use datafusion::prelude::SessionContext;

    use super::*;

    /// They stand in for DataFusion's, which do not know the zone's calendar.
    const ON_THE_CALENDAR: [&str; 2] = ["date_trunc", "date_bin"];

    /// The README lists every function, so that an analyst finds it; none takes the name of one of DataFusion's.
    #[test]
    fn every_function_is_documented_listed_and_has_a_name_of_its_own() {
        let readme = include_str!("../../README.md");
        let stock = SessionContext::new().state();
        let mut names = BTreeSet::new();
        let mut check = |name: &str, documentation: Option<&Documentation>| {
            let documentation = documentation.unwrap_or_else(|| panic!("{name} is not documented"));
            assert!(documentation.syntax_example.starts_with(&format!("{name}(")), "{name}");
            assert!(documentation.description.len() > 40, "{name}");
            assert!(readme.contains(&format!("`{name}`")), "{name} is not in the README");
            let is_stock =
                stock.scalar_functions().contains_key(name) || stock.aggregate_functions().contains_key(name);
            assert!(!is_stock || ON_THE_CALENDAR.contains(&name), "{name} has the name of another");
            assert!(names.insert(name.to_owned()), "{name} twice");
        };
        for function in all(Tz::UTC) {
            check(function.name(), function.documentation());
        }
        for function in aggregates() {
            check(function.name(), function.documentation());
        }
        assert!(names.len() > 40, "{}", names.len());
    }
}
