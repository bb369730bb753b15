//! Text to statements, with spans: the dialect that packs are written in.

mod diagnostic;

pub use diagnostic::{Diagnostic, Span};
