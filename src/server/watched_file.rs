//! Files that an operator replaces while the server runs, as Kubernetes does with secrets: read again when they change.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Files are looked at no more often than this.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What was read from files, and is read again when one of them has another time or length.
pub(super) struct Watched<T> {
    read: Box<dyn Fn() -> Result<T, String> + Send + Sync>,
    stamp: Box<dyn Fn() -> Stamp + Send + Sync>,
    state: Mutex<State<T>>,
}

/// Times and lengths; none for a file that is not there.
type Stamp = Vec<Option<(SystemTime, u64)>>;

struct State<T> {
    value: Arc<T>,
    stamp: Stamp,
    looked: Instant,
}

impl<T> Watched<T> {
    /// Reads the files for the first time, which must succeed.
    pub(super) fn new(
        files: &[&Path],
        read: impl Fn() -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let files: Vec<_> = files.iter().map(|path| path.to_path_buf()).collect();
        let of_file = |path: &Path| fs::metadata(path).ok().and_then(|m| Some((m.modified().ok()?, m.len())));
        let stamp = move || files.iter().map(|path| of_file(path)).collect::<Stamp>();
        // Looked at before they are read: a change in between is seen the next time.
        let before = stamp();
        let value = Arc::new(read()?);
        let state = Mutex::new(State { value, stamp: before, looked: Instant::now() });
        Ok(Self { read: Box::new(read), stamp: Box::new(stamp), state })
    }

    /// What the files hold now; what they held before where that cannot be used, which is logged.
    pub(super) fn get(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK_INTERVAL {
            state.looked = Instant::now();
            self.refresh(&mut state);
        }
        state.value.clone()
    }

    fn refresh(&self, state: &mut State<T>) {
        let stamp = (self.stamp)();
        if stamp == state.stamp {
            return;
        }
        state.stamp = stamp;
        match (self.read)() {
            Ok(value) => state.value = Arc::new(value),
            Err(reason) => tracing::error!(reason, "a changed file cannot be used; what it held before still holds"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "one").unwrap();
        let of = path.clone();
        let read = move || match fs::read_to_string(&of) {
            Ok(text) if text.is_empty() => Err("empty".to_owned()),
            other => other.map_err(|e| e.to_string()),
        };
        let watched = Watched::new(&[&path], read).unwrap();
        let now = || {
            let mut state = watched.state.lock().unwrap();
            watched.refresh(&mut state);
            state.value.to_string()
        };
        assert_eq!(now(), "one");
        fs::write(&path, "second").unwrap();
        assert_eq!(now(), "second");
        fs::write(&path, "").unwrap();
        assert_eq!(now(), "second");
        fs::remove_file(&path).unwrap();
        assert_eq!(now(), "second");
        fs::write(&path, "third one").unwrap();
        assert_eq!(now(), "third one");
        assert!(Watched::new(&[&dir.path().join("none")], || Err::<(), _>("gone".to_owned())).is_err());
    }
}
