//! Event-time progress.

use std::fmt;

/// How far event time has come, in milliseconds since the Unix epoch: buckets that end at or before it are closed.
///
/// [`Watermark::MIN`] says that nothing is known yet, [`Watermark::MAX`] that the input has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark(pub i64);

impl Watermark {
    /// Nothing has been read yet.
    pub const MIN: Self = Self(i64::MIN);
    /// The end of input: every timer is due.
    pub const MAX: Self = Self(i64::MAX);

    /// Returns whether an instant (milliseconds) has been passed, that is, lies at or before the watermark.
    pub fn has_passed(self, instant_ms: i64) -> bool {
        instant_ms <= self.0
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("none"),
            Self::MAX => f.write_str("end of input"),
            Self(ms) => write!(f, "{ms}"),
        }
    }
}
