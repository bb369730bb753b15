//! Whether the other end of the ports answers: known by the client that talks to it, asked by whoever shows it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Since when nobody at the other end has answered. Clones speak of the same end.
#[derive(Clone, Debug, Default)]
pub struct Contact(Arc<Mutex<Option<Instant>>>);

impl Contact {
    /// Takes note of whether somebody answers now.
    pub fn note(&self, answers: bool) {
        let mut lost_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *lost_at = if answers { None } else { Some(lost_at.unwrap_or_else(Instant::now)) };
    }

    /// For how long nobody has answered; none if somebody does, or nothing is known.
    pub fn lost_for(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contact_is_lost_from_the_first_silence_until_somebody_answers() {
        let contact = Contact::default();
        assert_eq!(contact.lost_for(), None, "nothing is known yet");
        contact.note(false);
        std::thread::sleep(Duration::from_millis(20));
        contact.clone().note(false);
        assert!(contact.lost_for().unwrap() >= Duration::from_millis(20), "it counts from the first");
        contact.note(true);
        assert_eq!(contact.lost_for(), None);
    }
}
