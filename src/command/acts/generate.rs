//! `qrtotp generate DIR`, `qrtotp generate --readme FILE`: what is made from the definitions of options and keys.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::arguments::generate::GenerateOptions;
use crate::ending::{Code, Ending};
use crate::manual::{completions, pages, reference};
use crate::screen::Screen;

/// Writes it, and says what was written.
pub fn run(options: &GenerateOptions, screen: &Screen) -> Result<(), Ending> {
    let made = match (&options.folder, &options.readme) {
        (Some(folder), _) => folder_of(folder)?,
        (_, Some(readme)) => vec![renew(readme)?],
        _ => Vec::new(),
    };
    let lines: Vec<_> = made.iter().map(|path| path.display().to_string()).collect();
    screen.answer(&json!({ "made": lines }), &lines.join("\n"))
}

fn folder_of(folder: &Path) -> Result<Vec<PathBuf>, Ending> {
    let pages = pages().into_iter().map(|page| (folder.join("man").join(page.file_name()), page.text().to_owned()));
    let completions =
        completions::files().into_iter().map(|(name, text)| (folder.join("completions").join(name), text));
    pages.chain(completions).map(|(path, text)| write(&path, &text).map(|()| path)).collect()
}

fn renew(readme: &Path) -> Result<PathBuf, Ending> {
    let text = fs::read_to_string(readme).map_err(|error| failed(readme, &error))?;
    let what = "has no marks between which the reference stands; is it the README of qrtotp?";
    let renewed = reference::renewed(&text)
        .ok_or_else(|| Ending::new(Code::Conflict, format!("{}: {what}", readme.display())))?;
    write(readme, &renewed)?;
    Ok(readme.to_owned())
}

fn write(path: &Path, text: &str) -> Result<(), Ending> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, text)).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &io::Error) -> Ending {
    Ending::new(Code::No, format!("{}: {error}", path.display()))
}
