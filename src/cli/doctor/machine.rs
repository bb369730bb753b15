//! This machine: the folder of snapshots, the space there, and the address of HTTP.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::finding::Findings;
use crate::cli::settings::SettingsArgs;

const DISK: &str = "disk";
/// Less free space than this is worth a word.
const FREE_BYTES_FEW: u64 = 1 << 30;
/// With less than this a snapshot will not be written.
const FREE_BYTES_NONE: u64 = 64 << 20;

pub(super) fn look(settings: &SettingsArgs, findings: &mut Findings) {
    match &settings.state_dir {
        Some(dir) => state_dir(dir, findings),
        None => findings.warning(
            DISK,
            "no --state-dir: every restart reads the whole state topic",
            "give each worker a folder of its own with --state-dir; it may be lost at any time",
        ),
    }
    if let Some(address) = &settings.http {
        http(address, findings);
    }
}

fn state_dir(dir: &Path, findings: &mut Findings) {
    let shown = dir.display();
    // What the worker would make is not made here: then the folder above it must be there and take it.
    let mut existing = dir;
    while let (false, Some(parent)) = (existing.exists(), existing.parent()) {
        existing = parent;
    }
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    if let Err(error) = try_to_write(existing) {
        let reason = match error.kind() {
            ErrorKind::NotADirectory => format!("`{}` is no folder", existing.display()),
            _ => error.to_string(),
        };
        findings.problem(
            DISK,
            &format!("the state directory `{shown}` cannot be written to: {reason}"),
            "let the user that runs curb own the folder, or name another with --state-dir",
        );
        return;
    }
    let Some(free) = free_bytes(existing) else {
        findings.ok(DISK, &format!("`{shown}` can be written to"));
        return;
    };
    let text = format!("`{shown}` can be written to; {:.1} GiB are free there", free as f64 / f64::from(1 << 30));
    let remedy = "make room, or name a folder on another disk with --state-dir; snapshots take up to twice the size of the state";
    match free {
        _ if free < FREE_BYTES_NONE => findings.problem(DISK, &text, remedy),
        _ if free < FREE_BYTES_FEW => findings.warning(DISK, &text, remedy),
        _ => findings.ok(DISK, &text),
    }
}

fn try_to_write(dir: &Path) -> std::io::Result<()> {
    let path = dir.join(format!(".curb-doctor-{}", std::process::id()));
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    // It may not be there: then that is what is reported.
    let _ = fs::remove_file(&path);
    written
}

/// What is free for this user on the disk of a folder; none where the system does not tell.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn free_bytes(dir: &Path) -> Option<u64> {
    use std::ffi::{CString, c_char, c_int, c_ulong};
    use std::os::unix::ffi::OsStrExt as _;

    /// The beginning of `struct statvfs`, with room for what follows.
    #[repr(C)]
    struct Disk {
        block_bytes: c_ulong,
        fragment_bytes: c_ulong,
        blocks: u64,
        free: u64,
        available: u64,
        rest: [u64; 32],
    }
    unsafe extern "C" {
        fn statvfs(path: *const c_char, disk: *mut Disk) -> c_int;
    }
    let path = CString::new(dir.as_os_str().as_bytes()).ok()?;
    let mut disk = Disk { block_bytes: 0, fragment_bytes: 0, blocks: 0, free: 0, available: 0, rest: [0; 32] };
    // SAFETY: the path ends with a null byte, and the structure is larger than the system's.
    let done = unsafe { statvfs(path.as_ptr(), &raw mut disk) };
    (done == 0).then(|| disk.available.saturating_mul(disk.fragment_bytes))
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}

fn http(address: &str, findings: &mut Findings) {
    const CHECK: &str = "http";
    let Ok(socket) = address.parse::<SocketAddr>() else {
        findings.problem(
            CHECK,
            &format!("`{address}` is not an address"),
            "write one as 127.0.0.1:8642 or 0.0.0.0:8642",
        );
        return;
    };
    match TcpListener::bind(socket) {
        Ok(_) => findings.ok(CHECK, &format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => findings.warning(
            CHECK,
            &format!("{address} is in use, perhaps by the worker that runs"),
            "end what listens there, or choose another --http address",
        ),
        Err(error) => {
            findings.problem(
                CHECK,
                &format!("{address} cannot be listened on: {error}"),
                "choose an address of this machine",
            );
        }
    }
}
