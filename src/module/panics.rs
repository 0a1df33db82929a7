//! A panic ends the call and not the program, and prints nothing.
//!
//! The standard library inside this module is its own copy, so the hook that is set here sees the panics of this module
//! only, whatever else the program is written in. Without it, a caught panic would still print its text, and with
//! RUST_BACKTRACE code addresses, on the terminal of whoever called `sudo`.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside [`contain`].
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// Where the last contained panic of this thread began.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

static HOOK: Once = Once::new();

/// A panic that was contained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contained {
    /// File and line in the source. The panic's message is dropped: nobody knows what it quotes.
    pub place: String,
}

/// Runs one call.
///
/// What the call was working on is dropped or abandoned by a panic; nothing of it may be used afterwards.
///
/// # Errors
/// [`Contained`] where it panicked.
pub fn contain<T>(call: impl FnOnce() -> T) -> Result<T, Contained> {
    HOOK.call_once(silence);
    // A conversation function may start a second login on the same thread; the outer call stays contained after it.
    let before = INSIDE.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    INSIDE.set(before);
    result.map_err(|_| Contained { place: PLACE.take().unwrap_or_default() })
}

fn silence() {
    let elsewhere = panic::take_hook();
    panic::set_hook(Box::new(move |info| if INSIDE.get() { PLACE.set(Some(place(info))) } else { elsewhere(info) }));
}

fn place(info: &PanicHookInfo<'_>) -> String {
    info.location().map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_panic_becomes_its_place_and_not_its_text() {
        let contained = contain(|| panic!("the secret is {}", 12345)).unwrap_err();
        assert!(contained.place.contains("panics.rs:"), "{contained:?}");
        assert!(!contained.place.contains("12345"), "{contained:?}");
    }

    #[test]
    fn a_call_that_does_not_panic_keeps_its_result() {
        assert_eq!(contain(|| 7), Ok(7));
    }

    #[test]
    fn after_an_inner_call_the_outer_one_is_still_contained() {
        let outer = contain(|| {
            assert_eq!(contain(|| 7), Ok(7));
            panic!("outer");
        });
        assert!(outer.is_err());
        assert!(!INSIDE.get());
    }

    fn output_of_child(name: &str) -> String {
        let me = std::env::current_exe().unwrap();
        let arguments = ["--exact", name, "--ignored", "--nocapture", "--test-threads=1"];
        let output = Command::new(me).args(arguments).env("RUST_BACKTRACE", "1").output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    #[test]
    fn a_contained_panic_prints_nothing() {
        let output = output_of_child("panics::tests::in_a_process_whose_output_is_read");
        assert!(output.contains("1 passed"), "{output}");
        assert!(!output.contains("panicked") && !output.contains("unseen"), "{output}");
    }

    #[test]
    fn a_panic_outside_of_a_call_is_left_to_the_hook_before() {
        let output = output_of_child("panics::tests::in_a_process_that_panics_outside");
        assert!(output.contains("panicked") && output.contains("seen by all"), "{output}");
    }

    /// Runs alone, with its output read.
    #[test]
    #[ignore = "started by a_contained_panic_prints_nothing"]
    fn in_a_process_whose_output_is_read() {
        assert!(contain(|| panic!("unseen")).is_err());
    }

    /// Runs alone, with its output read.
    #[test]
    #[ignore = "started by a_panic_outside_of_a_call_is_left_to_the_hook_before"]
    fn in_a_process_that_panics_outside() {
        assert_eq!(contain(|| 7), Ok(7));
        panic!("seen by all");
    }
}
