//! A real browser without a screen: what a page looks like, how wide it is, and whether it complains.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a browser made of a page.
pub struct View {
    /// A picture of it, PNG.
    pub picture: PathBuf,
    /// The page after it was laid out, with what the test added.
    pub dom: String,
    /// What stood on the console.
    pub console: Vec<String>,
}

/// How a page is looked at.
#[derive(Clone, Copy)]
pub struct Window {
    /// CSS pixels.
    pub width: u32,
    /// CSS pixels.
    pub height: u32,
    /// Whether the person prefers dark colours.
    pub dark: bool,
}

/// Looks at a page; the picture is left in the folder.
///
/// # Panics
/// Where the browser is missing or fails.
pub fn look(page: &str, folder: &str, name: &str, window: Window) -> View {
    let picture = PathBuf::from(format!("{folder}/{name}.png"));
    // A frame of the width that is wanted: a browser window has a least width of its own.
    let source = format!("{folder}/{name}.html");
    fs::write(&source, page).unwrap();
    let Window { width, height, dark } = window;
    let profile = format!("{folder}/profile-{name}");
    let browse = |more: &[&str], url: &str| {
        let mut command = Command::new("/usr/bin/chromium");
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--hide-scrollbars",
        ]);
        command.args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
        ]);
        command.args(["--allow-file-access-from-files", "--enable-logging=stderr", "--v=0"]);
        command.arg(format!("--user-data-dir={profile}")).arg(format!("--window-size={},{height}", width.max(500)));
        if dark {
            command.arg("--blink-settings=preferredColorScheme=0");
        } else {
            command.arg("--blink-settings=preferredColorScheme=1");
        }
        let done = command.args(more).arg(url).stdin(Stdio::null()).output().expect("chromium is there");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        (String::from_utf8_lossy(&done.stdout).into_owned(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let frame = format!(
        "<!doctype html><style>body{{margin:0}}iframe{{border:0;width:{width}px;height:{height}px}}</style>\
         <iframe src=\"{name}.html\"></iframe><p id=width></p><script>onload=()=>{{\
         const root=document.querySelector('iframe').contentDocument.scrollingElement;\
         document.getElementById('width').textContent=root.scrollWidth+'x'+root.scrollHeight}}</script>"
    );
    let framed = format!("{folder}/{name}-frame.html");
    fs::write(&framed, frame).unwrap();
    let (_, said) = browse(&[&format!("--screenshot={}", picture.display())], &format!("file://{framed}"));
    let (dom, more) = browse(&["--dump-dom"], &format!("file://{framed}"));
    // The browser's own pages complain too, of a slow network, say.
    let is_of_page = |line: &&str| line.contains("CONSOLE") && !line.contains("source: chrome://");
    let console = said.lines().chain(more.lines()).filter(is_of_page).map(str::to_owned).collect();
    View { picture, dom, console }
}

impl View {
    /// How wide the page wants to be, in CSS pixels.
    ///
    /// # Panics
    /// Where the browser did not tell.
    pub fn width(&self) -> u32 {
        let told = self.dom.split("<p id=\"width\">").nth(1).and_then(|rest| rest.split('x').next());
        told.and_then(|width| width.parse().ok()).unwrap_or_else(|| panic!("no width in {}", self.dom))
    }
}
