//! Where the figures go: drawn again in place on a terminal, else one after the other.

use std::io::{self, Write};

/// Lines that are too long are cut instead of wrapped, or the place to draw at would be lost.
const CUT_LINES: &str = "\x1b[?7l";
const WRAP_LINES: &str = "\x1b[?7h";
const CLEAR_TO_END_OF_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Draws on `out`.
pub(super) struct Screen<W: Write> {
    out: W,
    is_terminal: bool,
    n_lines_drawn: usize,
}

impl<W: Write> Screen<W> {
    pub(super) fn new(out: W, is_terminal: bool) -> Self {
        Self { out, is_terminal, n_lines_drawn: 0 }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Draws `frame` over the one before. The whole is written at once, so that nothing flickers.
    pub(super) fn draw(&mut self, frame: &str) -> io::Result<()> {
        let mut text = String::from(CUT_LINES);
        text.push_str(&self.back_to_top());
        for line in frame.lines() {
            text.push_str(line);
            text.push_str(CLEAR_TO_END_OF_LINE);
            text.push('\n');
        }
        text.push_str(WRAP_LINES);
        self.n_lines_drawn = frame.lines().count();
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Writes text that stays; on a terminal it takes the place of the frame.
    pub(super) fn write(&mut self, text: &str) -> io::Result<()> {
        let clear = if self.n_lines_drawn > 0 { self.back_to_top() + CLEAR_BELOW } else { String::new() };
        self.n_lines_drawn = 0;
        self.out.write_all((clear + text).as_bytes())?;
        self.out.flush()
    }

    fn back_to_top(&self) -> String {
        if self.n_lines_drawn == 0 { String::new() } else { format!("\r\x1b[{}A", self.n_lines_drawn) }
    }
}

#[cfg(test)]
mod tests {
    use super::Screen;

    #[test]
    fn a_frame_is_drawn_over_the_one_before_and_gives_way_to_what_stays() {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, true);
        screen.draw("a\nb\n").unwrap();
        screen.draw("c\nd\n").unwrap();
        screen.write("end\n").unwrap();
        screen.write("more\n").unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "\x1b[?7la\x1b[K\nb\x1b[K\n\x1b[?7h\x1b[?7l\r\x1b[2Ac\x1b[K\nd\x1b[K\n\x1b[?7h\r\x1b[2A\x1b[Jend\nmore\n"
        );
    }
}
