//! Chance that comes from nowhere else: `getrandom`, as the standard library and tokio ask for it, answers the same bytes in
//! every process. Without it, hash maps and tokio's fairness would differ from run to run, and a seed would not be a run.
//!
//! The symbol stands in front of the C library's; the standard library leaves it weak for this purpose. A run has a process
//! of its own, because tokio counts its runtimes.
#![allow(unsafe_code)]

/// Fills `length` bytes at `bytes`, always with the same.
///
/// # Safety
/// As of getrandom(2): `bytes` must be valid for writes of `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(bytes: *mut u8, length: usize, _flags: u32) -> isize {
    // SAFETY: the caller says that there are as many bytes.
    unsafe { std::ptr::write_bytes(bytes, 0x5a, length) };
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// Whether it took effect: two hashers of two threads are the same then.
pub fn is_steady() -> bool {
    use std::hash::{BuildHasher, RandomState};
    let hash = || RandomState::new().hash_one(1u8);
    let hashes = [(); 2].map(|()| std::thread::spawn(hash).join().ok());
    hashes[0] == hashes[1]
}
