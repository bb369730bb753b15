//! The scalar functions that rules may call beside DataFusion's own: calendar and text.
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
mod civil;
mod header;
mod text;
mod tumble;
mod zone;

use chrono_tz::Tz;
use datafusion::logical_expr::ScalarUDF;

pub use bucket::{Buckets, Width, WidthError};
pub use zone::Zone;

/// All functions, for a pack whose time zone is `zone`.
pub fn all(zone: Tz) -> Vec<ScalarUDF> {
    let mut functions = tumble::functions(zone);
    functions.extend(calendar::functions(zone));
    functions.extend(text::functions());
    functions.extend(header::functions());
    functions
}
