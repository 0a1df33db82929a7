//! How long `pam_authenticate` takes, through the real libpam: this module, Debian's pam_google_authenticator and pam_oath,
//! and the floor (open, append 64 bytes, fdatasync, close), side by side in one run, call after call.
//!
//! Times depend on the machine, on its disk and on who else uses it; the ratios of one run are what counts. Nothing fails
//! here: the table says which aims were reached.

mod crowd;
mod host;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crowd::{Crowd, PLAYERS};
use qrtotp_tests::product;
use qrtotp_tests::sandbox::Sandbox;

/// The modules under test, by the name of their service.
const MODULES: [&str; 3] = ["qrtotp", "google", "oath"];
/// Users who log in at once; they are not among those who log in one by one.
const AT_ONCE: usize = 16;
/// Times a module is loaded to time its loading.
const LOADS: usize = 41;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["login", service, user, code] => std::process::exit(host::login(service, user, code).code),
        ["load", file] => println!("{}", host::load(file)),
        ["memory", service, user] => println!("{}", host::memory(service, user)),
        [] => bench(&[10, 1000, 100_000]),
        sizes => bench(&sizes.iter().map(|size| size.parse().expect("a number of users")).collect::<Vec<_>>()),
    }
}

fn bench(sizes: &[usize]) {
    // On the disk, beside what was built: in memory nothing would have to be made durable.
    let target = product::target_folder().canonicalize().unwrap();
    let covered = ["/tmp", "/mnt", "/var", "/home", "/run", "/dev"];
    if let Some(folder) = covered.iter().find(|folder| target.starts_with(folder)) {
        eprintln!(
            "the benchmark cannot run below {folder}, which its sandbox covers; move the source to another place"
        );
        std::process::exit(2);
    }
    let disk = target.join(format!("bench-{}", std::process::id()));
    fs::create_dir_all(&disk).unwrap();
    let sandbox = Sandbox::new();
    println!("microseconds a call: median (and 90th percentile); {} calls each\n", PLAYERS - AT_ONCE);
    println!("{:>8}  {:<6} {:>15} {:>15} {:>15} {:>15}", "users", "code", "floor", "qrtotp", "google", "oath");
    let rows: Vec<Row> = sizes.iter().map(|size| measure(&sandbox, &disk.join(size.to_string()), *size)).collect();
    sizes_of_module();
    aims(&rows);
    drop(sandbox);
    fs::remove_dir_all(&disk).unwrap();
}

/// What one crowd showed: medians in microseconds.
struct Row {
    floor: f64,
    right: [f64; 3],
    wrong: [f64; 3],
    refused: [usize; 3],
}

fn measure(sandbox: &Sandbox, disk: &Path, size: usize) -> Row {
    let crowd = Crowd::gather(disk, size);
    crowd.install(sandbox);
    let (floor, right) = one_by_one(&crowd, disk, true);
    show(size, "right", &floor, &right);
    let (floor_too, wrong) = one_by_one(&crowd, disk, false);
    show(size, "wrong", &floor_too, &wrong);
    let refused = MODULES.map(|service| at_once(&crowd, service));
    println!("{size:>8}  {AT_ONCE} users at once: right codes refused: {refused:?}");
    fs::remove_dir_all(disk).unwrap();
    Row {
        floor: median(&floor),
        right: right.each_ref().map(|times| median(times)),
        wrong: wrong.each_ref().map(|times| median(times)),
        refused,
    }
}

/// Every player logs in once with each module; one call of each follows the other.
fn one_by_one(crowd: &Crowd, disk: &Path, right: bool) -> (Vec<f64>, [Vec<f64>; 3]) {
    let mut floor = Vec::new();
    let mut times: [Vec<f64>; 3] = Default::default();
    for player in AT_ONCE..PLAYERS {
        floor.push(append_durably(&disk.join("floor")));
        for (service, times) in MODULES.iter().zip(&mut times) {
            let code = if right { crowd.code(player) } else { crowd.wrong_code(player) };
            let login = host::login(service, &crowd.name(player), &code);
            assert_eq!(login.code == 0, right, "{service}, {}: answer {}", crowd.name(player), login.code);
            times.push(login.microseconds);
        }
    }
    (floor, times)
}

fn append_durably(path: &PathBuf) -> f64 {
    let started = Instant::now();
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(&[0; 64]).unwrap();
    rustix::fs::fdatasync(file.as_fd()).unwrap();
    drop(file);
    started.elapsed().as_secs_f64() * 1e6
}

/// How many of the players who log in at the same moment, each with a right code, are refused.
fn at_once(crowd: &Crowd, service: &str) -> usize {
    let own = std::env::current_exe().unwrap();
    let logins: Vec<_> = (0..AT_ONCE)
        .map(|player| {
            let mut login = Command::new(&own);
            login.args(["login", service, &crowd.name(player), &crowd.code(player)]);
            login.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    logins.into_iter().filter(|login| !wait(login.id())).count()
}

fn wait(pid: u32) -> bool {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap());
    let status = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).unwrap();
    status.is_some_and(|(_, status)| status.exit_status() == Some(0))
}

fn show(size: usize, code: &str, floor: &[f64], modules: &[Vec<f64>; 3]) {
    let cell = |times: &[f64]| format!("{:.0} ({:.0})", median(times), quantile(times, 0.9));
    let cells: Vec<_> = modules.iter().map(|times| cell(times)).collect();
    println!("{size:>8}  {code:<6} {:>15} {:>15} {:>15} {:>15}", cell(floor), cells[0], cells[1], cells[2]);
}

fn sizes_of_module() {
    let folder = product::security_folder();
    let files = ["pam_qrtotp.so", "pam_google_authenticator.so", "pam_oath.so"];
    println!("\n{:<30} {:>10} {:>14} {:>18}", "module", "KB on disk", "dlopen in us", "KB memory added");
    for (file, service) in files.iter().zip(MODULES) {
        let path = format!("{folder}/{file}");
        let loads: Vec<f64> = (0..LOADS).map(|_| number_from(&["load", &path])).collect();
        let memory = number_from(&["memory", service, "player0"]);
        let disk = fs::metadata(&path).unwrap().len() / 1000;
        println!("{file:<30} {disk:>10} {:>14.0} {memory:>18.0}", median(&loads));
    }
}

/// Runs this program once more and reads the number that it prints.
fn number_from(arguments: &[&str]) -> f64 {
    let output = Command::new(std::env::current_exe().unwrap()).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn aims(rows: &[Row]) {
    let (first, last) = (rows.first().unwrap(), rows.last().unwrap());
    let worst = |ratio: &dyn Fn(&Row) -> f64| rows.iter().map(ratio).fold(0.0, f64::max);
    let least = |ratio: &dyn Fn(&Row) -> f64| rows.iter().map(ratio).fold(f64::MAX, f64::min);
    let over_floor = worst(&|row| row.right[0].max(row.wrong[0]) / row.floor);
    let under_google = least(&|row| row.right[1] / row.right[0]);
    let under_oath = last.right[2] / last.right[0];
    let growth = last.right[0] / first.right[0];
    let refused: usize = rows.iter().map(|row| row.refused[0]).sum();
    let kilobytes = fs::metadata(product::module_file()).unwrap().len() as f64 / 1000.0;
    println!("\naims, of this run's medians:");
    let say = |reached: bool, text: String| println!("  {} {text}", if reached { "reached " } else { "MISSED  " });
    say(over_floor <= 2.0, format!("at most 2 times the floor: {over_floor:.2}"));
    say(under_google >= 1.3, format!("at least 1.3 times faster than pam_google_authenticator: {under_google:.2}"));
    say(under_oath >= 50.0, format!("at least 50 times faster than pam_oath at the most users: {under_oath:.1}"));
    say(growth < 1.2, format!("the same at the fewest and the most users, ratio under 1.2: {growth:.2}"));
    say(refused == 0, format!("no right code refused with {AT_ONCE} users at once: {refused}"));
    say(kilobytes <= 550.0, format!("at most 550 KB on disk: {kilobytes:.0}"));
}

fn median(times: &[f64]) -> f64 {
    quantile(times, 0.5)
}

fn quantile(times: &[f64], part: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at).or(sorted.last()).copied().unwrap_or(f64::NAN)
}
