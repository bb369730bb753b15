//! Byte strings with dense ids, in chunks; chunks that are mostly dead are emptied and used again.

const CHUNK_BYTES: usize = 1 << 20;
/// From this size on the chunk that is being filled is emptied too: else a few rows that come and go would fill it.
const OPEN_BYTES_MIN: usize = 4 << 10;
/// Each row is preceded by its id and its length, so that a chunk can be emptied by reading it.
const HEADER_BYTES: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Place {
    chunk: u32,
    offset: u32,
}

const DEAD: Place = Place { chunk: u32::MAX, offset: 0 };

#[derive(Debug, Default)]
struct Chunk {
    data: Vec<u8>,
    live_bytes: usize,
}

/// A store of byte strings. Ids are dense and used again after removal.
#[derive(Debug, Default)]
pub struct RowArena {
    chunks: Vec<Chunk>,
    empty_chunks: Vec<u32>,
    open: Option<u32>,
    places: Vec<Place>,
    free_ids: Vec<u32>,
}

impl RowArena {
    /// Stores a copy of `bytes` and returns its id.
    pub fn insert(&mut self, bytes: &[u8]) -> u32 {
        let id = self.free_ids.pop().unwrap_or_else(|| {
            self.places.push(DEAD);
            (self.places.len() - 1) as u32
        });
        self.write(id, bytes);
        id
    }

    /// The bytes of a live id.
    pub fn get(&self, id: u32) -> &[u8] {
        let place = self.places[id as usize];
        let data = &self.chunks[place.chunk as usize].data;
        let at = place.offset as usize;
        let len = read_u32(data, at + 4) as usize;
        &data[at + HEADER_BYTES..at + HEADER_BYTES + len]
    }

    /// Whether an id is live.
    pub fn contains(&self, id: u32) -> bool {
        self.places.get(id as usize).is_some_and(|place| place.chunk != DEAD.chunk)
    }

    /// Forgets a live id.
    pub fn remove(&mut self, id: u32) {
        let place = std::mem::replace(&mut self.places[id as usize], DEAD);
        let chunk = &mut self.chunks[place.chunk as usize];
        chunk.live_bytes -= HEADER_BYTES + read_u32(&chunk.data, place.offset as usize + 4) as usize;
        self.free_ids.push(id);
        let bytes_min = if Some(place.chunk) == self.open { OPEN_BYTES_MIN } else { 0 };
        if chunk.data.len() > bytes_min && chunk.live_bytes * 2 < chunk.data.len() {
            self.empty(place.chunk);
        }
    }

    /// The number of live ids.
    pub fn len(&self) -> usize {
        self.places.len() - self.free_ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.chunks.iter().map(|c| c.data.capacity()).sum::<usize>()
            + self.places.capacity() * size_of::<Place>()
            + self.free_ids.capacity() * size_of::<u32>()
    }

    fn write(&mut self, id: u32, bytes: &[u8]) {
        let need = HEADER_BYTES + bytes.len();
        let chunk_idx = match self.open {
            Some(c) if self.chunks[c as usize].data.len() + need <= CHUNK_BYTES => c,
            _ => self.open_chunk(),
        };
        let chunk = &mut self.chunks[chunk_idx as usize];
        self.places[id as usize] = Place { chunk: chunk_idx, offset: chunk.data.len() as u32 };
        let header = u64::from(id) | (bytes.len() as u64) << 32;
        chunk.data.extend_from_slice(&header.to_le_bytes());
        chunk.data.extend_from_slice(bytes);
        chunk.live_bytes += need;
    }

    fn open_chunk(&mut self) -> u32 {
        let idx = self.empty_chunks.pop().unwrap_or_else(|| {
            self.chunks.push(Chunk::default());
            (self.chunks.len() - 1) as u32
        });
        if idx > 0 {
            // Not the first: a small store stays small, a large one does not copy while chunks grow.
            self.chunks[idx as usize].data.reserve_exact(CHUNK_BYTES);
        }
        self.open = Some(idx);
        idx
    }

    /// Moves the live rows of a chunk to the open one, which may be the same: of an id the last row is the live one, so
    /// none is met again at its new place.
    fn empty(&mut self, chunk_idx: u32) {
        let was_open = Some(chunk_idx) == self.open;
        let old = std::mem::take(&mut self.chunks[chunk_idx as usize]);
        let mut at = 0;
        while at < old.data.len() {
            let (id, len) = (read_u32(&old.data, at), read_u32(&old.data, at + 4) as usize);
            let place = self.places[id as usize];
            if place.chunk == chunk_idx && place.offset as usize == at {
                self.write(id, &old.data[at + HEADER_BYTES..at + HEADER_BYTES + len]);
            }
            at += HEADER_BYTES + len;
        }
        // A row longer than a chunk opens another one.
        let is_open = Some(chunk_idx) == self.open;
        if !was_open || (!is_open && self.chunks[chunk_idx as usize].data.is_empty()) {
            self.empty_chunks.push(chunk_idx);
        }
    }
}

fn read_u32(data: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&data[at..at + 4]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn a_few_rows_that_come_and_go_take_little_memory() {
        let mut arena = RowArena::default();
        let mut live = std::collections::VecDeque::new();
        for n in 0..100_000u32 {
            live.push_back((arena.insert(&n.to_le_bytes()), n));
            if live.len() > 10 {
                arena.remove(live.pop_front().unwrap().0);
            }
            assert!(arena.size_bytes() < 4 * OPEN_BYTES_MIN, "{} bytes after {n} rows", arena.size_bytes());
        }
        assert!(live.iter().all(|(id, n)| arena.get(*id) == n.to_le_bytes()));
    }

    #[test]
    fn rows_longer_than_a_chunk_come_and_go() {
        let mut arena = RowArena::default();
        for round in 0..20u8 {
            let small: Vec<u32> = (0..600).map(|_| arena.insert(&[round; 16])).collect();
            let large = arena.insert(&vec![round; CHUNK_BYTES + 1]);
            small.iter().skip(1).for_each(|id| arena.remove(*id));
            assert_eq!(arena.get(large), vec![round; CHUNK_BYTES + 1]);
            assert_eq!(arena.get(small[0]), [round; 16]);
            arena.remove(large);
            arena.remove(small[0]);
        }
        assert!(arena.is_empty() && arena.chunks.len() < 5, "{} chunks", arena.chunks.len());
    }

    proptest! {
        #[test]
        fn behaves_as_a_map_of_ids(ops in prop::collection::vec((any::<bool>(), 0usize..60_000, any::<u8>()), 1..300)) {
            let (mut arena, mut model) = (RowArena::default(), HashMap::new());
            for (remove, len, byte) in ops {
                let victim = model.keys().next().copied();
                match victim {
                    Some(id) if remove => {
                        arena.remove(id);
                        model.remove(&id);
                    }
                    _ => {
                        let row = vec![byte; len];
                        model.insert(arena.insert(&row), row);
                    }
                }
                prop_assert_eq!(arena.len(), model.len());
            }
            for (id, row) in &model {
                prop_assert_eq!(arena.get(*id), row.as_slice());
            }
        }
    }
}
