//! What the linker must know of librdkafka, see `leader_hints.rs`.

fn main() {
    println!("cargo::rerun-if-changed=src/kafka/build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-link-arg=-Wl,--wrap=rd_kafka_metadata_update_op");
    }
}
