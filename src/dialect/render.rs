//! Findings as people and programs read them: drawn below the text, one to a line, or as data for `--output json`.

use std::fmt::Write;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use super::{Diagnostic, Pack, SourceFile, Span};

/// Draws findings below the text they are about, in the look of rustc, with an empty line between them.
pub fn render(diagnostics: &[Diagnostic], pack: &Pack) -> String {
    render_with(&Renderer::plain(), diagnostics, pack)
}

/// The same with colours, for terminals.
pub fn render_styled(diagnostics: &[Diagnostic], pack: &Pack) -> String {
    render_with(&Renderer::styled(), diagnostics, pack)
}

fn render_with(renderer: &Renderer, diagnostics: &[Diagnostic], pack: &Pack) -> String {
    let drawn: Vec<String> = diagnostics.iter().map(|d| renderer.render(&[group(d, pack)])).collect();
    let mut text = drawn.join("\n\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn group<'a>(diagnostic: &'a Diagnostic, pack: &'a Pack) -> Group<'a> {
    let mut group = Group::with_title(Level::ERROR.primary_title(diagnostic.message.as_str()).id(diagnostic.code));
    let place = &diagnostic.span;
    // Notes in the same file are drawn into the same picture, others get their own.
    let (near, far): (Vec<_>, Vec<_>) =
        diagnostic.notes.iter().partition(|n| n.span.file == place.file && place.is_known());
    if let Some(file) = file_of(pack, place) {
        let near: Vec<_> = near.iter().map(|note| (note.span, note.message.as_str())).collect();
        group = group.element(snippet(file, *place, &near));
    }
    for note in far {
        if let Some(file) = file_of(pack, &note.span) {
            group = group.element(snippet(file, Span::default(), &[(note.span, note.message.as_str())]));
        }
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.with_name(Some("hint")).message(hint.as_str()));
    }
    group
}

fn file_of<'a>(pack: &'a Pack, span: &Span) -> Option<&'a SourceFile> {
    pack.files.get(usize::try_from(span.file).ok()?).filter(|_| span.is_known())
}

/// The lines that the spans touch. Only they are handed to the drawing, which reads all it is given.
fn snippet<'a>(
    file: &'a SourceFile,
    primary: Span,
    notes: &[(Span, &'a str)],
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let spans = || notes.iter().map(|(span, _)| span).chain([&primary]).filter(|span| span.is_known());
    let first_line = spans().map(|span| span.line).min().unwrap_or(1);
    let last_line = spans().map(|span| span.end_line.max(span.line)).max().unwrap_or(1);
    let (start, text) = lines(&file.text, first_line, last_line);
    let range = |span: &Span| {
        let from = offset(&file.text, span.line, span.column);
        let to = offset(&file.text, span.end_line, span.end_column).max(from);
        let cut = |at: usize| at.saturating_sub(start).min(text.len());
        cut(from)..cut(to)
    };
    let mut snippet =
        Snippet::source(text).path(file.path.as_str()).line_start(usize::try_from(first_line).unwrap_or(usize::MAX));
    if primary.is_known() {
        snippet = snippet.annotation(AnnotationKind::Primary.span(range(&primary)));
    }
    for (span, message) in notes {
        // Where no finding is in this file, its note is what the picture is about.
        let kind = if primary.is_known() { AnnotationKind::Context } else { AnnotationKind::Primary };
        snippet = snippet.annotation(kind.span(range(span)).label(*message));
    }
    snippet
}

/// The byte offset of a line and the text from it to the end of another.
fn lines(text: &str, first: u64, last: u64) -> (usize, &str) {
    let start = offset(text, first, 1);
    let end = offset(text, last.saturating_add(1), 1);
    let lines = text.get(start..end).unwrap_or_default();
    (start, lines.strip_suffix('\n').unwrap_or(lines))
}

/// The byte offset of a line and column, which count characters from 1; the end of the line or text if it is shorter.
fn offset(text: &str, line: u64, column: u64) -> usize {
    let mut start = 0;
    for _ in 1..line {
        match text.get(start..).and_then(|rest| rest.find('\n')) {
            Some(length) => start += length + 1,
            None => return text.len(),
        }
    }
    let rest = text.get(start..).unwrap_or_default();
    let rest = rest.split('\n').next().unwrap_or_default();
    let skip = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
    start + rest.char_indices().nth(skip).map_or(rest.len(), |(at, _)| at)
}

/// Writes findings one to a line: `file:line:column: error[C0123]: message (hint)`.
pub fn render_lines(diagnostics: &[Diagnostic], pack: &Pack) -> String {
    let mut text = String::new();
    for finding in findings(diagnostics, pack) {
        if let Some(place) = &finding.place {
            let _ = write!(text, "{}:{}:{}: ", place.file, place.line, place.column);
        }
        let _ = write!(text, "error[{}]: {}", finding.code, finding.message);
        if let Some(hint) = finding.hint {
            let _ = write!(text, " ({hint})");
        }
        text.push('\n');
    }
    text
}

/// A finding as data, for `--output json`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Finding<'a> {
    /// The stable code.
    pub code: &'static str,
    /// What is wrong.
    pub message: &'a str,
    /// Where, if a place is known.
    #[serde(flatten)]
    pub place: Option<Place<'a>>,
    /// What to do about it.
    pub hint: Option<&'a str>,
    /// Other places that belong to it.
    pub notes: Vec<FindingNote<'a>>,
}

/// A place in a file; lines and columns count characters from 1, the end is exclusive.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Place<'a> {
    /// The path as printed.
    pub file: &'a str,
    /// The first line.
    pub line: u64,
    /// The first column.
    pub column: u64,
    /// The line of the end.
    pub end_line: u64,
    /// The column behind the end.
    pub end_column: u64,
}

/// Another place that belongs to a finding.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FindingNote<'a> {
    /// What is there.
    pub message: &'a str,
    /// Where.
    #[serde(flatten)]
    pub place: Option<Place<'a>>,
}

/// Findings as data.
pub fn findings<'a>(diagnostics: &'a [Diagnostic], pack: &'a Pack) -> Vec<Finding<'a>> {
    let note = |note: &'a super::Note| FindingNote { message: &note.message, place: place(&note.span, pack) };
    diagnostics
        .iter()
        .map(|diagnostic| Finding {
            code: diagnostic.code,
            message: &diagnostic.message,
            place: place(&diagnostic.span, pack),
            hint: diagnostic.hint.as_deref(),
            notes: diagnostic.notes.iter().map(note).collect(),
        })
        .collect()
}

fn place<'a>(span: &Span, pack: &'a Pack) -> Option<Place<'a>> {
    let file = file_of(pack, span)?.path.as_str();
    let Span { line, column, end_line, end_column, .. } = *span;
    Some(Place { file, line, column, end_line, end_column })
}
