//! Snapshots of shards as files: blocks of bytes that are published as a whole and read only if they are whole.
//!
//! A file is a magic and a version, then blocks (length, CRC-32, bytes), then an end with their number and a CRC-32 over
//! all lengths and sums. It is written under another name, synced, and renamed; so a crash leaves the old file or the new.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::fail_point;

const MAGIC: [u8; 8] = *b"CURBSNAP";
const VERSION: u32 = 1;
/// Stands where a block's length would.
const END: u32 = u32::MAX;

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file could not be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// Another version of this program wrote it.
    #[error("it has format version {0}, but this program reads version {VERSION}")]
    Version(u32),
}

/// The folder with the snapshots of one pipeline, a file for each shard. It is made when the first one is written.
#[derive(Clone, Debug)]
pub struct SnapshotDir {
    dir: PathBuf,
    pipeline: String,
}

impl SnapshotDir {
    /// The snapshots of `pipeline` below `dir`.
    pub fn new(dir: &Path, pipeline: &str) -> Self {
        Self { dir: dir.join("snapshots"), pipeline: pipeline.to_owned() }
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// The file of a shard.
    pub fn path(&self, shard: u32) -> PathBuf {
        self.dir.join(format!("{}.{shard}.snapshot", self.pipeline))
    }

    /// Begins a new snapshot of a shard.
    pub fn write(&self, shard: u32) -> Result<SnapshotWriter, SnapshotError> {
        fs::create_dir_all(&self.dir)?;
        let path = self.path(shard);
        let unfinished = path.with_extension("unfinished");
        let mut file = BufWriter::with_capacity(1 << 18, File::create(&unfinished)?);
        file.write_all(&MAGIC)?;
        file.write_all(&VERSION.to_le_bytes())?;
        Ok(SnapshotWriter { file, unfinished, path, n_blocks: 0, sums: crc32fast::Hasher::new(), n_bytes: 12 })
    }

    /// The blocks of a shard's snapshot; none if there is no snapshot. A file that is not whole is an error.
    pub fn read(&self, shard: u32) -> Result<Option<Vec<Vec<u8>>>, SnapshotError> {
        match fs::read(self.path(shard)) {
            Ok(bytes) => blocks(&bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a shard's snapshot.
    pub fn discard(&self, shard: u32) -> Result<(), SnapshotError> {
        match fs::remove_file(self.path(shard)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// A snapshot that is being written. Dropped before it is published, it leaves nothing behind.
#[derive(Debug)]
pub struct SnapshotWriter {
    file: BufWriter<File>,
    unfinished: PathBuf,
    path: PathBuf,
    n_blocks: u32,
    sums: crc32fast::Hasher,
    n_bytes: u64,
}

impl SnapshotWriter {
    /// Appends a block.
    pub fn block(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let len = u32::try_from(bytes.len()).ok().filter(|len| *len != END);
        let len = len.ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, "a block has more than 4 GiB"))?;
        let head = head(len, crc32fast::hash(bytes));
        self.sums.update(&head);
        self.file.write_all(&head)?;
        self.file.write_all(bytes)?;
        self.n_blocks += 1;
        self.n_bytes += head.len() as u64 + bytes.len() as u64;
        Ok(())
    }

    /// Makes the snapshot that of its shard. Returns its size in bytes.
    pub fn publish(mut self) -> Result<u64, SnapshotError> {
        self.file.write_all(&END.to_le_bytes())?;
        self.file.write_all(&self.n_blocks.to_le_bytes())?;
        self.file.write_all(&self.sums.clone().finalize().to_le_bytes())?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fail_point::reach("snapshot.written");
        fs::rename(&self.unfinished, &self.path)?;
        fail_point::reach("snapshot.renamed");
        if let Some(dir) = self.path.parent() {
            // Without it the old name may come back after a power failure.
            File::open(dir)?.sync_all()?;
        }
        Ok(self.n_bytes + 12)
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        // It has been renamed, or is of no use; where even this fails the next snapshot writes over it.
        let _ = fs::remove_file(&self.unfinished);
    }
}

fn head(len: u32, sum: u32) -> [u8; 8] {
    let mut head = [0; 8];
    let (first, second) = head.split_at_mut(4);
    first.copy_from_slice(&len.to_le_bytes());
    second.copy_from_slice(&sum.to_le_bytes());
    head
}

/// Checks a file and divides it into its blocks.
fn blocks(bytes: &[u8]) -> Result<Vec<Vec<u8>>, SnapshotError> {
    let cut_short = || SnapshotError::Damaged("it is cut short");
    let mut rest = bytes;
    let mut number = || -> Result<u32, SnapshotError> {
        let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(cut_short)?;
        rest = tail;
        Ok(u32::from_le_bytes(*head))
    };
    let magic = [number()?.to_le_bytes(), number()?.to_le_bytes()].concat();
    if magic != MAGIC {
        return Err(SnapshotError::Damaged("it does not start as a snapshot does"));
    }
    let version = number()?;
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let (mut blocks, mut sums) = (Vec::new(), crc32fast::Hasher::new());
    loop {
        let (len, tail) = rest.split_first_chunk::<4>().ok_or_else(cut_short)?;
        let len = u32::from_le_bytes(*len);
        let (sum, tail) = tail.split_first_chunk::<4>().ok_or_else(cut_short)?;
        let sum = u32::from_le_bytes(*sum);
        if len == END {
            let n_blocks = sum;
            let (sum, tail) = tail.split_first_chunk::<4>().ok_or_else(cut_short)?;
            let is_whole = n_blocks as usize == blocks.len() && u32::from_le_bytes(*sum) == sums.finalize();
            return match is_whole && tail.is_empty() {
                true => Ok(blocks),
                false => Err(SnapshotError::Damaged("its end does not agree with its blocks")),
            };
        }
        let (block, tail) = tail.split_at_checked(len as usize).ok_or_else(cut_short)?;
        if crc32fast::hash(block) != sum {
            return Err(SnapshotError::Damaged("the checksum of a block does not agree"));
        }
        sums.update(&head(len, sum));
        blocks.push(block.to_vec());
        rest = tail;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(dir: &SnapshotDir, blocks: &[Vec<u8>]) -> u64 {
        let mut writer = dir.write(3).unwrap();
        blocks.iter().for_each(|block| writer.block(block).unwrap());
        writer.publish().unwrap()
    }

    proptest! {
        #[test]
        fn blocks_are_read_back_and_any_damage_is_found(
            blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..8),
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
        ) {
            let root = tempfile::tempdir().unwrap();
            let dir = SnapshotDir::new(root.path(), "p");
            prop_assert!(dir.read(3).unwrap().is_none());
            let n_bytes = write(&dir, &blocks);
            prop_assert_eq!(dir.read(3).unwrap(), Some(blocks));
            let bytes = fs::read(dir.path(3)).unwrap();
            prop_assert_eq!(bytes.len() as u64, n_bytes);
            let at = at.index(bytes.len());
            let mut flipped = bytes.clone();
            flipped[at] ^= flip;
            fs::write(dir.path(3), &flipped).unwrap();
            prop_assert!(dir.read(3).is_err());
            fs::write(dir.path(3), &bytes[..at]).unwrap();
            prop_assert!(dir.read(3).is_err());
            fs::write(dir.path(3), [bytes.as_slice(), &[0]].concat()).unwrap();
            prop_assert!(dir.read(3).is_err());
        }

        #[test]
        fn arbitrary_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(super::blocks(&bytes).is_err());
            prop_assert!(super::blocks(&[&MAGIC[..], &VERSION.to_le_bytes(), &bytes].concat()).is_err());
        }
    }

    #[test]
    fn a_snapshot_that_is_not_published_leaves_the_old_one() {
        let root = tempfile::tempdir().unwrap();
        let dir = SnapshotDir::new(root.path(), "p");
        write(&dir, &[b"old".to_vec()]);
        let mut writer = dir.write(3).unwrap();
        writer.block(b"new").unwrap();
        drop(writer);
        assert_eq!(dir.read(3).unwrap(), Some(vec![b"old".to_vec()]));
        assert_eq!(fs::read_dir(root.path().join("snapshots")).unwrap().count(), 1);
        dir.discard(3).unwrap();
        dir.discard(3).unwrap();
        assert!(dir.read(3).unwrap().is_none());
    }
}
