//! The kinds of kernels: the same loops (`loops.rs`) over lanes of each width.

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
pub mod bytes;
pub mod loops;
pub mod portable;
