//! The built file itself: what it exports, what it needs, how it is linked, how large it is.

use std::process::Command;

use qrtotp_tests::product::module_file;

/// What a program says of the module.
fn says(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).arg(module_file()).output().expect(program);
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn it_exports_its_two_entry_points_and_nothing_else() {
    let symbols = says("nm", &["-D", "--defined-only"]);
    let mut names: Vec<&str> = symbols.lines().filter_map(|line| line.split(' ').next_back()).collect();
    names.sort_unstable();
    assert_eq!(names, ["pam_sm_authenticate", "pam_sm_setcred"]);
}

#[test]
fn it_needs_libpam_and_the_c_library_alone() {
    let dynamic = says("readelf", &["-dW"]);
    let needed = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    for library in needed.map(|line| line.split(['[', ']']).nth(1).unwrap()) {
        let known = ["libpam.so.0", "libc.so.6", "libgcc_s.so.1", "ld-linux"];
        assert!(known.iter().any(|known| library.starts_with(known)), "{library}");
    }
    assert!(dynamic.contains("[libpam.so.0]"), "{dynamic}");
    assert!(!dynamic.contains("RPATH") && !dynamic.contains("RUNPATH"), "{dynamic}");
}

#[test]
fn it_is_bound_at_once_never_unloaded_and_nothing_in_it_is_writable_and_runnable() {
    let dynamic = says("readelf", &["-dW"]);
    assert!(dynamic.contains("BIND_NOW") || dynamic.contains("NOW"), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
    assert!(!dynamic.contains("TEXTREL"), "{dynamic}");
    let headers = says("readelf", &["-lW"]);
    assert!(headers.contains("GNU_RELRO"), "{headers}");
    let stack = headers.lines().find(|line| line.contains("GNU_STACK")).unwrap();
    assert!(!stack.contains("RWE"), "{stack}");
    let writable_code = headers.lines().filter(|line| line.contains("LOAD") && line.contains("RWE"));
    assert_eq!(writable_code.count(), 0, "{headers}");
}

/// ARCHITECTURE.md says what it is made of. What grows beyond this bound needs a reason.
#[test]
fn it_is_at_most_880_kilobytes() {
    let size = std::fs::metadata(module_file()).unwrap().len();
    assert!(size <= 880 * 1024, "{size} bytes");
}
