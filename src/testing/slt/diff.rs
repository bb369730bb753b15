//! Two lists of rows side by side: what is only expected, what was only got, in the order in which they stand.

/// A line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Both(String),
    Expected(String),
    Got(String),
}

/// More cells than this are not compared one with each other.
const CELLS_MAX: usize = 4_000_000;

/// The shortest way from the expected rows to those that were got.
pub(super) fn difference(expected: &[String], got: &[String]) -> Vec<Line> {
    let only = |(expected, got): (&[String], &[String])| -> Vec<Line> {
        expected.iter().cloned().map(Line::Expected).chain(got.iter().cloned().map(Line::Got)).collect()
    };
    let width = got.len() + 1;
    if expected.len().saturating_add(1).saturating_mul(width) > CELLS_MAX {
        return only((expected, got));
    }
    // By place in both lists: how long the longest common sequence from there on is.
    let mut common = vec![0_u32; (expected.len() + 1) * width];
    for (i, e) in expected.iter().enumerate().rev() {
        for (j, g) in got.iter().enumerate().rev() {
            let best = if e == g {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
            common[i * width + j] = best;
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while let (Some(e), Some(g)) = (expected.get(i), got.get(j)) {
        if e == g {
            lines.push(Line::Both(e.clone()));
            (i, j) = (i + 1, j + 1);
        } else if common[(i + 1) * width + j] >= common[i * width + j + 1] {
            lines.push(Line::Expected(e.clone()));
            i += 1;
        } else {
            lines.push(Line::Got(g.clone()));
            j += 1;
        }
    }
    lines.extend(only((expected.get(i..).unwrap_or_default(), got.get(j..).unwrap_or_default())));
    lines
}

#[cfg(test)]
mod tests {
    use super::{Line, difference};

    fn drawn(expected: &str, got: &str) -> String {
        let words = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_string).collect() };
        let line = |line: &Line| match line {
            Line::Both(text) => text.clone(),
            Line::Expected(text) => format!("-{text}"),
            Line::Got(text) => format!("+{text}"),
        };
        difference(&words(expected), &words(got)).iter().map(line).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rows_that_both_have_are_not_told_twice() {
        assert_eq!(drawn("a b c", "a b c"), "a b c");
        assert_eq!(drawn("a b c", "a c d"), "a -b c +d");
        assert_eq!(drawn("", "a"), "+a");
        assert_eq!(drawn("a b", ""), "-a -b");
        assert_eq!(drawn("x a", "a y"), "-x a +y");
    }
}
