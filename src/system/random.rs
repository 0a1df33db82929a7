//! Random numbers from the kernel.

use qrtotp_core::ports::{NoRandom, Random};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// getrandom(2), and nothing else: where the kernel has none, the login is denied rather than served by a file that
/// may be anything (and whose descriptor would stay open).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandom> {
        let mut rest = buffer;
        while !rest.is_empty() {
            match getrandom(&mut *rest, GetRandomFlags::empty()) {
                Ok(0) => return Err(NoRandom),
                Ok(count) => rest = rest.get_mut(count..).ok_or(NoRandom)?,
                Err(Errno::INTR) => {}
                Err(_) => return Err(NoRandom),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_buffer_is_filled_and_differently_each_time() {
        let (mut first, mut second) = ([0; 1000], [0; 1000]);
        SystemRandom.fill(&mut first).unwrap();
        SystemRandom.fill(&mut second).unwrap();
        assert_ne!(first, second);
        assert!(first.chunks(20).all(|chunk| chunk.iter().any(|byte| *byte != 0)));
    }

    #[test]
    fn nothing_to_fill_is_no_error() {
        assert_eq!(SystemRandom.fill(&mut []), Ok(()));
    }
}
