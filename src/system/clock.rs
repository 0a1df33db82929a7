//! The clocks of this machine.

use nix::time::{ClockId as WallClockId, clock_gettime};
use qrtotp_core::ports::Clock;
use qrtotp_core::words::{Now, WallTime};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, retry_on_intr};
use rustix::time::{ClockId, DynamicClockId, clock_gettime_dynamic};

use qrtotp_core::files::above_stdio;

/// The kernel's clocks.
///
/// The wall clock is read through the C library, so that a test can move it by preloading; the others come from the
/// kernel alone, and nothing in the process can move them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Option<Now> {
        Some(Now { wall: wall()?, boot: boot()?, boot_id: boot_id().unwrap_or_default() })
    }

    fn ticks(&self) -> u64 {
        read_kernel_clock(DynamicClockId::Known(ClockId::Monotonic))
            .and_then(|(seconds, nanos)| units(seconds, nanos, 1_000_000))
            .unwrap_or_default()
    }
}

/// Absent where the kernel refuses, and before 1970.
fn wall() -> Option<WallTime> {
    let time = clock_gettime(WallClockId::CLOCK_REALTIME).ok()?;
    units(time.tv_sec(), time.tv_nsec(), 1000).map(WallTime)
}

fn boot() -> Option<u64> {
    let (seconds, nanos) = read_kernel_clock(DynamicClockId::Boottime)?;
    units(seconds, nanos, 1000)
}

fn read_kernel_clock(id: DynamicClockId<'_>) -> Option<(i64, i64)> {
    clock_gettime_dynamic(id).ok().map(|time| (time.tv_sec, time.tv_nsec))
}

/// Seconds and nanoseconds as whole units, of which `per_second` (at most 10^9) make a second.
fn units(seconds: i64, nanos: i64, per_second: u64) -> Option<u64> {
    let seconds = u64::try_from(seconds).ok()?;
    let fraction = u64::try_from(nanos).ok()?.checked_mul(per_second)? / 1_000_000_000;
    seconds.checked_mul(per_second)?.checked_add(fraction)
}

/// random(4): a UUID that is made anew at every boot.
fn boot_id() -> Option<[u8; 8]> {
    let mut text = [0; 64];
    let length = read_boot_id(&mut text).ok()?;
    parse_boot_id(text.get(..length)?)
}

fn read_boot_id(text: &mut [u8]) -> Result<usize, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = above_stdio(open("/proc/sys/kernel/random/boot_id", flags, Mode::empty())?)?;
    retry_on_intr(|| read(&file, &mut *text))
}

/// The first eight bytes of `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
fn parse_boot_id(text: &[u8]) -> Option<[u8; 8]> {
    let text = std::str::from_utf8(text).ok()?;
    let digits: String = text.chars().filter(|c| *c != '-').take(16).collect();
    let complete = digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    complete.then(|| u64::from_str_radix(&digits, 16).ok())?.map(u64::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn the_wall_clock_is_the_one_everybody_reads() {
        let now = SystemClock.now().unwrap();
        let elsewhere = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert!(u128::from(now.wall.0).abs_diff(elsewhere.as_millis()) < 5000);
    }

    #[test]
    fn the_boot_clock_counts_milliseconds_since_the_boot() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let boot = SystemClock.now().unwrap().boot;
        assert!((seconds - boot as f64 / 1000.0).abs() < 5.0, "{seconds} s, {boot} ms");
    }

    #[test]
    fn ticks_never_go_back_and_are_microseconds() {
        let before = SystemClock.ticks();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let passed = SystemClock.ticks() - before;
        assert!((20_000..5_000_000).contains(&passed), "{passed}");
    }

    #[test]
    fn the_boot_id_is_the_same_at_every_reading_and_not_zero() {
        let first = SystemClock.now().unwrap().boot_id;
        assert_eq!(first, SystemClock.now().unwrap().boot_id);
        assert_ne!(first, [0; 8]);
    }

    #[test]
    fn a_boot_id_is_the_first_eight_bytes_of_the_uuid() {
        let id = parse_boot_id(b"0123abcd-ef45-6789-8000-000000000000\n");
        assert_eq!(id, Some([0x01, 0x23, 0xab, 0xcd, 0xef, 0x45, 0x67, 0x89]));
    }

    #[test]
    fn what_is_no_uuid_is_no_boot_id() {
        for text in
            ["", "0123abcd", "0123abcd-ef45-678", "+123abcd-ef45-6789-8000", "0123abcd ef45 6789 8000", "\u{ff10}"]
        {
            assert_eq!(parse_boot_id(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_boot_id(&[0xff; 36]), None);
    }

    #[test]
    fn a_time_before_1970_or_beyond_the_numbers_is_none() {
        assert_eq!(units(-1, 0, 1000), None);
        assert_eq!(units(0, -1, 1000), None);
        assert_eq!(units(i64::MAX, 0, 1000), None);
        assert_eq!(units(1, 999_999_999, 1000), Some(1999));
    }
}
