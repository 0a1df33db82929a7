//! Moves the clocks that this process sees, whichever way the code asks for them.
//!
//! libc and other callers read the clock in the vDSO, a page of code that the kernel maps into each process. The functions there
//! are overwritten, in this process's private copy, with a jump to [`shifted`], which asks the kernel and adds the shift.

use std::ffi::{CStr, c_char, c_int};
use std::sync::Once;
use std::sync::atomic::{AtomicI64, Ordering};

static WALL_MS: AtomicI64 = AtomicI64::new(0);
static BOOT_MS: AtomicI64 = AtomicI64::new(0);

/// Lets the wall clock and the boot clock differ from the machine's by so many milliseconds.
pub fn shift(wall_ms: i64, boot_ms: i64) {
    static PATCHED: Once = Once::new();
    PATCHED.call_once(patch);
    WALL_MS.store(wall_ms, Ordering::Relaxed);
    BOOT_MS.store(boot_ms, Ordering::Relaxed);
    let now = std::time::SystemTime::now();
    let since_epoch = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    let seen = i64::try_from(since_epoch.as_millis()).unwrap();
    let real = kernel_time(libc::CLOCK_REALTIME);
    let real = real.tv_sec * 1000 + real.tv_nsec / 1_000_000;
    assert!((seen - real - wall_ms).abs() < 1000, "the clock could not be moved");
}

fn kernel_time(clock: c_int) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to the place given.
    let code = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, &raw mut time) };
    assert_eq!(code, 0, "clock_gettime");
    time
}

/// Stands in for clock_gettime of the vDSO.
///
/// # Safety
/// `time` is null or a place for one timespec.
unsafe extern "C" fn shifted(clock: c_int, time: *mut libc::timespec) -> c_int {
    // SAFETY: the caller's promise is the one the system call asks for.
    let code = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    if code != 0 {
        return -std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL);
    }
    let shift = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => WALL_MS.load(Ordering::Relaxed),
        libc::CLOCK_BOOTTIME => BOOT_MS.load(Ordering::Relaxed),
        _ => 0,
    };
    if time.is_null() {
        return 0;
    }
    // SAFETY: not null, and the kernel has just filled it.
    let time = unsafe { &mut *time };
    let nanos = time.tv_nsec + (shift % 1000) * 1_000_000;
    time.tv_sec += shift / 1000 + nanos.div_euclid(1_000_000_000);
    time.tv_nsec = nanos.rem_euclid(1_000_000_000);
    0
}

/// Stands in for gettimeofday of the vDSO.
///
/// # Safety
/// `time` is null or a place for one timeval; `zone` is null or a place for one timezone, which is left alone.
unsafe extern "C" fn shifted_timeval(time: *mut libc::timeval, _zone: *mut libc::c_void) -> c_int {
    let mut exact = kernel_time(libc::CLOCK_REALTIME);
    // SAFETY: a place for one timespec.
    unsafe { shifted(libc::CLOCK_REALTIME, &raw mut exact) };
    if !time.is_null() {
        let value = libc::timeval { tv_sec: exact.tv_sec, tv_usec: exact.tv_nsec / 1000 };
        // SAFETY: the caller's promise.
        unsafe { time.write(value) };
    }
    0
}

/// Stands in for time of the vDSO.
///
/// # Safety
/// `place` is null or a place for one time_t.
unsafe extern "C" fn shifted_seconds(place: *mut libc::time_t) -> libc::time_t {
    let mut exact = kernel_time(libc::CLOCK_REALTIME);
    // SAFETY: a place for one timespec.
    unsafe { shifted(libc::CLOCK_REALTIME, &raw mut exact) };
    if !place.is_null() {
        // SAFETY: the caller's promise.
        unsafe { place.write(exact.tv_sec) };
    }
    exact.tv_sec
}

/// The head of a 64-bit ELF file, as far as it is read here.
#[repr(C)]
struct FileHeader {
    identity: [u8; 16],
    kind: u16,
    machine: u16,
    version: u32,
    entry: u64,
    program_headers: u64,
    section_headers: u64,
    flags: u32,
    size: u16,
    program_header_size: u16,
    program_header_count: u16,
}

#[repr(C)]
struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

#[repr(C)]
struct Dynamic {
    tag: i64,
    value: u64,
}

#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: u64,
    size: u64,
}

fn patch() {
    // SAFETY: takes a number and returns one.
    let base = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as usize;
    assert_ne!(base, 0, "no vDSO: its clock cannot be moved");
    // SAFETY: the auxiliary vector points to the vDSO, a complete 64-bit ELF image mapped for the life of the process. All
    // reads follow offsets inside that image, which the kernel's own linker wrote. The process has one thread while the
    // bytes are replaced.
    unsafe {
        let header = &*(base as *const FileHeader);
        let headers = std::slice::from_raw_parts(
            (base + header.program_headers as usize) as *const ProgramHeader,
            usize::from(header.program_header_count),
        );
        let load = headers.iter().find(|header| header.kind == 1).unwrap();
        let bias = base + load.offset as usize - load.address as usize;
        let length = (load.memory_size as usize).next_multiple_of(4096);
        writable(base, length);
        let dynamic = headers.iter().find(|header| header.kind == 2).unwrap();
        let mut entry = (bias + dynamic.address as usize) as *const Dynamic;
        let (mut symbols, mut names) = (0, 0);
        while (*entry).tag != 0 {
            match (*entry).tag {
                5 => names = bias + (*entry).value as usize,
                6 => symbols = bias + (*entry).value as usize,
                _ => {}
            }
            entry = entry.add(1);
        }
        // The linker lays the names right behind the symbols.
        assert!(symbols != 0 && names > symbols, "a vDSO of another build");
        let count = (names - symbols) / size_of::<Symbol>();
        for symbol in std::slice::from_raw_parts(symbols as *const Symbol, count) {
            let name = CStr::from_ptr((names + symbol.name as usize) as *const c_char);
            let to = match name.to_bytes() {
                b"__vdso_clock_gettime" | b"__kernel_clock_gettime" => shifted as *const () as usize,
                b"__vdso_gettimeofday" | b"__kernel_gettimeofday" => shifted_timeval as *const () as usize,
                b"__vdso_time" => shifted_seconds as *const () as usize,
                _ => continue,
            };
            let jump = jump_to(to);
            let at = (bias + symbol.value as usize) as *mut u8;
            std::ptr::copy_nonoverlapping(jump.as_ptr(), at, jump.len());
        }
    }
}

/// # Safety
/// The pages belong to the vDSO.
unsafe fn writable(base: usize, length: usize) {
    let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    // SAFETY: the caller's promise; the first write makes the page private to this process.
    let code = unsafe { libc::mprotect(base as *mut libc::c_void, length, all) };
    assert_eq!(code, 0, "mprotect of the vDSO");
}

#[cfg(target_arch = "x86_64")]
fn jump_to(address: usize) -> Vec<u8> {
    let mut code = vec![0x48, 0xb8]; // mov rax, address
    code.extend(address.to_le_bytes());
    code.extend([0xff, 0xe0]); // jmp rax
    code
}

#[cfg(target_arch = "aarch64")]
fn jump_to(address: usize) -> Vec<u8> {
    let mut code = vec![0x50, 0x00, 0x00, 0x58]; // ldr x16, the address 8 bytes on
    code.extend([0x00, 0x02, 0x1f, 0xd6]); // br x16
    code.extend(address.to_le_bytes());
    code
}
