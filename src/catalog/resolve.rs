//! From statements to the catalog: names, types, keys and options checked.

use super::Catalog;
use crate::dialect::Diagnostic;

/// Resolves the statements of a pack. All findings are returned, not only the first.
pub fn resolve() -> Result<Catalog, Vec<Diagnostic>> {
    Err(Vec::new())
}
