//! Leaves out a part of librdkafka that ends the program: hints about new leaders.
//!
//! A broker that does not lead a partition any more may name the new leader with its answer (KIP-951). One that has just come back
//! names it for some partitions and says of others that there is none. The client counts both and writes only the first, and
//! takes for the rest of its list what the memory held before: a segmentation fault, or a leader that is none
//! (librdkafka#5280, open in 2.12 and later). Nothing is lost without the hints: the client asks for new metadata after such an
//! answer anyway. `build.rs` beside this file has the linker direct the call that takes a hint in to the function here.

use std::ffi::{c_int, c_void};

/// `RD_KAFKA_OP_RES_HANDLED`: the client gives back what it had allocated for the hint.
const HANDLED: c_int = 1;

/// Called by librdkafka in place of its own `rd_kafka_metadata_update_op`.
#[unsafe(no_mangle)]
extern "C" fn __wrap_rd_kafka_metadata_update_op(_client: *mut c_void, _hint: *mut c_void) -> c_int {
    HANDLED
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    unsafe extern "C" {
        fn rd_kafka_metadata_update_op(client: *mut c_void, hint: *mut c_void) -> c_int;
    }

    #[test]
    fn the_linker_directs_hints_to_us() {
        // SAFETY: the function here looks at nothing; librdkafka's own would end the test.
        let result = unsafe { rd_kafka_metadata_update_op(std::ptr::null_mut(), std::ptr::null_mut()) };
        assert_eq!(result, HANDLED);
    }
}
