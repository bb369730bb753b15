//! Keys that have gone: they have no row any more, but a revision that goes on if they come again.
//!
//! Rows that are forgotten take their keys with them; a key without rows is in nobody's company. So it is remembered at which
//! watermark it went, and it leaves when nothing from which it could follow can come any more.

use super::{KeyedDifferences, NONE};
use crate::operators::BucketEdge;
use crate::stream::Watermark;

impl KeyedDifferences {
    /// Lets keys leave that have gone: `until` says, for the watermark at which a key went, the one at which it leaves.
    pub fn leaving_when_gone(mut self, until: Option<BucketEdge>) -> Self {
        self.gone_until = until;
        self
    }

    /// Looks at a key that was compared: one that came and went without ever being handed on leaves at once, one that has gone
    /// when its time has come.
    pub(super) fn look_at(&mut self, key: u32, watermark: Watermark) {
        let Some(entry) = self.entries.get_mut(key as usize) else { return };
        if entry.last != NONE || entry.has_extra || entry.is_waiting {
            return;
        }
        if entry.revision == 0 {
            self.keys.remove(key);
        } else if self.gone_until.is_some() && !matches!(watermark, Watermark::MIN | Watermark::MAX) {
            // While no watermark is known, nobody knows what may still come.
            entry.since = watermark.0;
            self.gone.push_back((key, watermark.0));
        }
    }

    /// Lets the keys leave whose time has come.
    pub(super) fn forget_gone(&mut self, watermark: Watermark) {
        let Some(until) = self.gone_until.clone() else { return };
        while let Some((key, since)) = self.gone.front().copied() {
            let entry = self.entries.get(key as usize).copied().unwrap_or(super::NEW_ENTRY);
            // It may have come again, or be another key by now.
            let has_gone = entry.last == NONE && !entry.has_extra && !entry.is_waiting && entry.revision > 0;
            let is_meant = has_gone && entry.since == since;
            if is_meant && (watermark == Watermark::MAX || !watermark.has_passed(until(since))) {
                break;
            }
            self.gone.pop_front();
            if is_meant {
                self.forget_key(key);
            }
        }
    }
}
