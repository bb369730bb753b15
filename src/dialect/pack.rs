//! A pack as files: which files belong to it, and their text.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The largest file of a pack. Rules are written by hand; a larger file is a mistake, as data in the wrong folder.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The `.sql` files of a pack, in order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pack {
    /// The files; a [`Span`](super::Span) names one by its index.
    pub files: Vec<SourceFile>,
}

/// One file of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The path as it is printed: the pack's own as it was given, and the file's name.
    pub path: String,
    /// The whole text, without a byte order mark.
    pub text: String,
}

/// Why a pack could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The path does not exist or is not readable: check the path and its permissions.
    #[error("pack `{}` could not be read", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The folder holds no rules: name the folder that does.
    #[error("pack `{}` holds no `.sql` file", .0.display())]
    Empty(PathBuf),
    /// A file is not UTF-8: save it as UTF-8.
    #[error("file `{}` is not valid UTF-8: the first bad byte is at offset {offset}", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The position of the first byte that is not UTF-8.
        offset: usize,
    },
    /// A file is too large for rules: it is probably data.
    #[error("file `{}` has {bytes} bytes, but a file of a pack may have at most {FILE_BYTES_MAX}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
}

impl Pack {
    /// The SHA-256 of the names and texts of all files, as hexadecimal digits: another text of the rules has another one.
    pub fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        for SourceFile { path, text } in &self.files {
            let name = Path::new(path).file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
            for part in [name, text.as_bytes()] {
                digest.update((part.len() as u64).to_le_bytes());
                digest.update(part);
            }
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads a pack: the `.sql` files of a folder, sorted by name, or one file. Folders below it, as `tests/`, are not read.
    pub fn read(path: &Path) -> Result<Self, PackError> {
        let unreadable = |source| PackError::Unreadable { path: path.to_owned(), source };
        if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
            return Ok(Self { files: vec![SourceFile::read(path)?] });
        }
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            let is_sql = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("sql"));
            let is_hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if is_sql && !is_hidden && file.is_file() {
                paths.push(file);
            }
        }
        if paths.is_empty() {
            return Err(PackError::Empty(path.to_owned()));
        }
        paths.sort();
        let files = paths.iter().map(|path| SourceFile::read(path)).collect::<Result<_, _>>()?;
        Ok(Self { files })
    }

    /// A pack of one text, as for tests and for SQL that did not come from a file.
    pub fn from_text(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { files: vec![SourceFile { path: path.into(), text: text.into() }] }
    }
}

impl SourceFile {
    fn read(path: &Path) -> Result<Self, PackError> {
        let unreadable = |source| PackError::Unreadable { path: path.to_owned(), source };
        let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(PackError::TooLarge { path: path.to_owned(), bytes });
        }
        let text = String::from_utf8(std::fs::read(path).map_err(unreadable)?)
            .map_err(|e| PackError::NotUtf8 { path: path.to_owned(), offset: e.utf8_error().valid_up_to() })?;
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        Ok(Self { path: path.display().to_string(), text })
    }
}

#[cfg(test)]
mod tests {
    use super::{Pack, PackError};

    #[test]
    fn a_folder_is_its_sql_files_in_order_of_name_without_folders_below() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in
            [("2_rules.sql", "b"), ("1_sources.sql", "\u{feff}a"), ("devices.csv", "c"), (".x.sql", "d")]
        {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        std::fs::create_dir(dir.path().join("tests")).unwrap();
        std::fs::write(dir.path().join("tests/t.sql"), "e").unwrap();
        let pack = Pack::read(dir.path()).unwrap();
        let texts: Vec<_> = pack.files.iter().map(|f| f.text.as_str()).collect();
        assert_eq!(texts, ["a", "b"]);
        assert!(pack.files[0].path.ends_with("/1_sources.sql"));
        let one = Pack::read(&dir.path().join("2_rules.sql")).unwrap();
        assert_eq!(one.files.len(), 1);
    }

    #[test]
    fn a_pack_that_cannot_be_read_says_which_file_and_why() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Pack::read(&dir.path().join("none")), Err(PackError::Unreadable { .. })));
        assert!(matches!(Pack::read(dir.path()), Err(PackError::Empty(_))));
        std::fs::write(dir.path().join("a.sql"), b"ok \xff").unwrap();
        assert!(matches!(Pack::read(dir.path()), Err(PackError::NotUtf8 { offset: 3, .. })));
    }
}
