//! Remembers what was read from long arguments: a polygon or a calendar is the same in many rows of a batch.

use std::collections::HashMap;
use std::hash::Hash;

/// So many arguments are remembered at most; then all are forgotten.
const ENTRIES_MAX: usize = 1_024;

/// What was read from arguments of one batch.
pub(super) struct Memo<'a, K: ?Sized, V> {
    values: HashMap<&'a K, usize>,
    read: Vec<V>,
    last: Option<(&'a K, usize)>,
}

impl<'a, K: Eq + Hash + ?Sized, V> Memo<'a, K, V> {
    /// Nothing is remembered.
    pub fn new() -> Self {
        Self { values: HashMap::new(), read: Vec::new(), last: None }
    }

    /// What `read` makes of an argument.
    pub fn get(&mut self, argument: &'a K, read: impl FnOnce(&'a K) -> V) -> Option<&V> {
        let idx = match self.last {
            Some((last, idx)) if std::ptr::eq(last, argument) || last == argument => idx,
            _ => self.look_up(argument, read),
        };
        self.last = Some((argument, idx));
        self.read.get(idx)
    }

    fn look_up(&mut self, argument: &'a K, read: impl FnOnce(&'a K) -> V) -> usize {
        if let Some(idx) = self.values.get(argument) {
            return *idx;
        }
        if self.read.len() == ENTRIES_MAX {
            self.values.clear();
            self.read.clear();
        }
        let idx = self.read.len();
        self.read.push(read(argument));
        self.values.insert(argument, idx);
        idx
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_read_once_until_too_many_are_remembered() {
        let texts: Vec<String> = (0..ENTRIES_MAX + 1).map(|i| i.to_string()).collect();
        let mut memo = Memo::<str, usize>::new();
        let mut n_read = 0;
        let mut get = |memo: &mut Memo<'_, str, usize>, text: &'static str| {
            let value = memo.get(text, |t| {
                n_read += 1;
                t.len()
            });
            (value.copied(), n_read)
        };
        assert_eq!(get(&mut memo, "abc"), (Some(3), 1));
        assert_eq!(get(&mut memo, "ab"), (Some(2), 2));
        assert_eq!(get(&mut memo, "abc"), (Some(3), 2));
        let mut memo = Memo::<str, usize>::new();
        for text in &texts {
            assert_eq!(memo.get(text.as_str(), str::len), Some(&text.len()));
        }
        assert_eq!(memo.read.len(), 1);
        assert_eq!(memo.get(texts[0].as_str(), |_| 77), Some(&77));
    }
}
