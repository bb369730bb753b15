//! Keeps a fault of librdkafka from ending the program: it reads memory that it has not written.
//!
//! A broker that has just come back may answer a fetch with new leaders for some partitions and none for others. The client counts
//! both and writes only the first (librdkafka#5280, open in 2.12 and later); the rest of its list is whatever the memory held before, and
//! where that looks like a partition, the program ends with a segmentation fault. So the C library is told to fill what it
//! hands out and what it takes back: with such bytes the rest of the list names partitions and brokers that cannot exist, and is
//! skipped with a warning. Only allocations of C code are filled; our own use another allocator.

/// Makes the fault harmless, from now on. Nothing happens where the C library is not glibc.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn fill_unwritten_memory() {
    use std::ffi::c_int;
    use std::sync::Once;

    /// The parameter's number in `malloc.h`.
    const M_PERTURB: c_int = -6;
    /// Memory taken back is filled with this byte, memory handed out with its complement: as partitions and brokers, numbers
    /// below zero and above two thousand million.
    const FILL: c_int = 0x80;
    static FILLED: Once = Once::new();
    unsafe extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }
    FILLED.call_once(|| {
        // SAFETY: sets a parameter of the allocator, which may be done at any time.
        let is_set = unsafe { mallopt(M_PERTURB, FILL) };
        if is_set != 1 {
            tracing::warn!("the C library does not fill memory; a broker that returns may end this program");
        }
    });
}

/// Makes the fault harmless, from now on. Nothing happens where the C library is not glibc.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn fill_unwritten_memory() {}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use std::ffi::c_void;

    use super::*;

    unsafe extern "C" {
        fn malloc(bytes: usize) -> *mut c_void;
        fn free(memory: *mut c_void);
    }

    #[test]
    fn what_memory_held_before_is_not_seen_again() {
        fill_unwritten_memory();
        let mut n_used_again = 0;
        for bytes in [200, 5_000, 50_000] {
            for _ in 0..100 {
                // SAFETY: both are written and read within their size, and given back once.
                unsafe {
                    let first = malloc(bytes).cast::<u8>();
                    first.write_bytes(1, bytes);
                    free(first.cast());
                    let second = malloc(bytes);
                    if first.cast() == second {
                        n_used_again += 1;
                        // The first words of memory that was given back link the free list.
                        let words = &std::slice::from_raw_parts(second.cast::<i32>(), bytes / 4)[8..];
                        let known = [i32::from_ne_bytes([0x7f; 4]), i32::from_ne_bytes([0x80; 4])];
                        assert!(words.iter().all(|word| known.contains(word)), "{bytes} bytes: {words:x?}");
                    }
                    free(second);
                }
            }
        }
        assert!(n_used_again > 0);
    }
}
