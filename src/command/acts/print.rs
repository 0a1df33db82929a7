//! Pictures that `enroll` writes into files: for root alone, never over anything, and remembered until they are gone.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use qrtotp_core::enroll::Draft;
use qrtotp_core::otp::Shape;
use qrtotp_core::policy::Settings;
use qrtotp_core::vault::{PictureFile, Vault};
use qrtotp_core::words::Account;
use qrtotp_pictures::brand::Brand;
use qrtotp_pictures::card::Card;
use qrtotp_pictures::draw::Picture;
use qrtotp_pictures::proof::prove;
use zeroize::Zeroizing;

use super::enroll::Names;
use crate::arguments::EnrollOptions;
use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::screen::clean;

/// Files that were written for one enrollment.
pub struct Printed {
    files: Vec<PathBuf>,
}

impl Printed {
    /// Draws, reads back, and writes what the options ask for. Where one file cannot be written, none stays.
    pub fn write(
        desk: &Desk,
        vault: &Vault,
        options: &EnrollOptions,
        account: &Account,
        draft: &Draft,
        names: &Names,
    ) -> Result<Self, Ending> {
        let mut printed = Self { files: Vec::new() };
        if options.png.is_none() && options.svg.is_none() && options.card.is_none() {
            return Ok(printed);
        }
        let brand = brand(desk)?;
        let uri = draft.uri(&names.issuer, &names.account);
        let no = |what| Ending::new(Code::No, what);
        let picture = Picture::of(&uri, &brand).map_err(no)?;
        prove(&picture, &uri).map_err(no)?;
        let svg = picture.svg().map_err(no)?;
        let mut contents: Vec<(&Path, Zeroizing<Vec<u8>>)> = Vec::new();
        if let Some(path) = &options.png {
            contents.push((path, picture.png().map_err(no)?));
        }
        if let Some(path) = &options.svg {
            contents.push((path, Zeroizing::new(svg.as_bytes().to_vec())));
        }
        if let Some(path) = &options.card {
            let page = card(draft, names, &svg).page(&brand);
            contents.push((path, Zeroizing::new(page.as_bytes().to_vec())));
        }
        for (path, content) in contents {
            if let Err(ending) = printed.add(desk, vault, account, path, &content) {
                printed.discard(vault);
                return Err(ending);
            }
        }
        Ok(printed)
    }

    /// Noted first: a file that nobody knows of must not stay.
    fn add(
        &mut self,
        desk: &Desk,
        vault: &Vault,
        account: &Account,
        path: &Path,
        content: &[u8],
    ) -> Result<(), Ending> {
        let fail = |error: std::io::Error| {
            let what = match error.kind() {
                std::io::ErrorKind::AlreadyExists => "is there already; name another file".to_owned(),
                _ => error.to_string(),
            };
            Ending::new(Code::Conflict, format!("{}: {what}; nothing was stored", clean(&path.to_string_lossy())))
        };
        let path = std::path::absolute(path).map_err(fail)?;
        let mut file = create(&path).map_err(fail)?;
        self.files.push(path.clone());
        vault.note_picture(&PictureFile { uid: account.uid, written: desk.now()?.wall, path })?;
        file.write_all(content).and_then(|()| file.sync_all()).map_err(fail)
    }

    /// Removes what was written: the enrollment came to nothing.
    pub fn discard(&self, vault: &Vault) {
        for path in &self.files {
            // What stays is still noted, and named by status.
            if std::fs::remove_file(path).is_ok() {
                let _ = vault.forget_picture(path);
            }
        }
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The files.
    pub fn paths(&self) -> &[PathBuf] {
        &self.files
    }

    /// What the event says of them.
    pub fn named(&self) -> Option<String> {
        let paths: Vec<_> = self.files.iter().map(|path| format!("picture {}", path.display())).collect();
        (!paths.is_empty()).then(|| paths.join(", "))
    }

    /// Tells the person where they are.
    pub fn tell(&self, desk: &Desk) -> Result<(), Ending> {
        for path in &self.files {
            desk.screen.say(&format!("wrote {}: it holds the key; destroy it once it was scanned", path.display()))?;
        }
        Ok(())
    }
}

/// `[brand]` of the policy.
pub fn brand(desk: &Desk) -> Result<Brand, Ending> {
    let settings = Settings::load(&desk.config).map_err(|what| Ending::new(Code::Untrusted, what))?;
    Brand::load(&settings.brand).map_err(|what| Ending::new(Code::Untrusted, what))
}

fn card<'a>(draft: &'a Draft, names: &'a Names, svg: &'a str) -> CardParts<'a> {
    let shape = draft.shape;
    let unusual = (shape != Shape::default())
        .then(|| format!("{}, {} digits, {} seconds", shape.algorithm.name(), shape.digits(), shape.period()));
    CardParts {
        draft,
        names,
        svg,
        key: Zeroizing::new(draft.secret.in_groups().to_string()),
        host: qrtotp_system::host_name(),
        unusual,
    }
}

/// What a card borrows.
struct CardParts<'a> {
    draft: &'a Draft,
    names: &'a Names,
    svg: &'a str,
    key: Zeroizing<String>,
    host: String,
    unusual: Option<String>,
}

impl CardParts<'_> {
    fn page(&self, brand: &Brand) -> Zeroizing<String> {
        let card = Card {
            issuer: self.names.issuer.as_str(),
            account: self.names.account.as_str(),
            label: self.draft.label.as_str(),
            host: &self.host,
            key: &self.key,
            shape: self.unusual.clone(),
            svg: self.svg,
        };
        card.page(brand)
    }
}

/// A new file for root alone. A link in its place is something that is there.
fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// The files that still are there.
pub fn left(vault: &Vault) -> Result<Vec<PictureFile>, Ending> {
    let mut pictures = vault.pictures()?;
    pictures.retain(|picture| is_there(&picture.path));
    Ok(pictures)
}

/// Forgets those that are gone.
pub fn forget_gone(vault: &Vault) -> Result<(), Ending> {
    let pictures = vault.pictures()?;
    Ok(pictures
        .iter()
        .filter(|picture| !is_there(&picture.path))
        .try_for_each(|picture| vault.forget_picture(&picture.path))?)
}

/// What cannot be looked at may be there.
fn is_there(path: &Path) -> bool {
    !matches!(std::fs::symlink_metadata(path), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
}
