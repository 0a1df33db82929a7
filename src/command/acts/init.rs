//! `qrtotp init`

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use qrtotp_core::enroll;
use qrtotp_core::policy::keys;
use qrtotp_core::vault::{self, DECOY_COUNT};
use serde_json::json;
use std::io::Write;

use crate::desk::Desk;
use crate::ending::{Code, Ending};

/// Makes what is missing: policy file, state folder with marker and decoys, folders of events and runtime.
pub fn run(desk: &Desk) -> Result<(), Ending> {
    let mut made = Vec::new();
    if write_default_policy(&desk.config)? {
        made.push(desk.config.as_path());
    }
    for dir in [desk.policy.events_file.parent(), Some(desk.policy.runtime_dir.as_path())].into_iter().flatten() {
        if make_folder(dir)? {
            made.push(dir);
        }
    }
    if let Some(parent) = desk.policy.state_dir.parent() {
        make_folder(parent)?;
    }
    let now = desk.now()?;
    let decoys: Vec<_> = (0..DECOY_COUNT).map(|_| enroll::decoy(now, desk.random())).collect::<Result<_, _>>()?;
    if vault::initialise(&desk.policy.state_dir, &decoys.into_iter().flatten().collect::<Vec<_>>())? {
        made.push(&desk.policy.state_dir);
    }
    let text = match made.as_slice() {
        [] => "everything was there".to_owned(),
        made => made.iter().map(|path| format!("made {}", path.display())).collect::<Vec<_>>().join("\n"),
    };
    desk.screen.answer(&json!({ "made": made }), &text)
}

fn write_default_policy(path: &Path) -> Result<bool, Ending> {
    if path.exists() {
        return Ok(false);
    }
    let fail = |error| Ending::new(Code::Untrusted, format!("{}: cannot be made: {error}", path.display()));
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(fail)?;
    }
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    let mut file = file.map_err(fail)?;
    file.write_all(keys::default_file().as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    Ok(true)
}

/// Makes a private folder, and folders above it that all may enter.
fn make_folder(path: &Path) -> Result<bool, Ending> {
    if path.is_dir() {
        return Ok(false);
    }
    let fail = |error| Ending::new(Code::Untrusted, format!("{}: cannot be made: {error}", path.display()));
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(fail)?;
    }
    std::fs::DirBuilder::new().mode(0o700).create(path).map_err(fail)?;
    Ok(true)
}
