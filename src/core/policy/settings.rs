//! What commands alone read of `config.toml`: no login goes by it, so a mistake here keeps nobody out.

use std::path::{Path, PathBuf};

use super::alerts::Alert;
use super::reader::{Mistake, Part, Values};
use super::{MOST, all, keys};
use crate::files;

/// `[brand]`: how printed pictures look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Brand {
    /// The name of the organisation; `None`: `enroll.issuer`.
    pub issuer: Option<String>,
    /// A PNG file for the middle of the picture.
    pub logo: Option<PathBuf>,
    /// The colour of the dark modules, as `#rrggbb`.
    pub dark: String,
    /// The colour of the ground, as `#rrggbb`.
    pub light: String,
}

/// The part of the policy file that commands alone go by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// `[geo] database`: an MMDB file.
    pub geo_database: Option<PathBuf>,
    /// `[brand]`.
    pub brand: Brand,
    /// `[[alert]]`, in order.
    pub alerts: Vec<Alert>,
}

impl Settings {
    /// Reads them from the policy file; a missing one means the built-in defaults.
    ///
    /// # Errors
    /// A text for the administrator: file, line, column, what is wrong.
    pub fn load(file: &Path) -> Result<Self, String> {
        let bytes = files::read_public(file, MOST).map_err(|trouble| trouble.to_string())?;
        let bytes = bytes.unwrap_or_default();
        let text = std::str::from_utf8(&bytes).map_err(|_| format!("{}: is not UTF-8", file.display()))?;
        Self::parse(text).map_err(|mistakes| all(file, &mistakes))
    }

    /// Reads them from a policy's text.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let values = Values::read(text, Part::Commands)?;
        let some = |text: String| (!text.is_empty()).then_some(text);
        Ok(Self {
            geo_database: some(values.text(&keys::GEO_DATABASE)).map(PathBuf::from),
            brand: Brand {
                issuer: some(values.text(&keys::BRAND_ISSUER)),
                logo: some(values.text(&keys::BRAND_LOGO)).map(PathBuf::from),
                dark: values.text(&keys::BRAND_DARK),
                light: values.text(&keys::BRAND_LIGHT),
            },
            alerts: values.alerts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn a_mistake_in_what_commands_read_keeps_nobody_out() {
        let text = "[brand]\ndark = \"black\"\nlogo = \"x.png\"\nligth = \"#ffffff\"\n[geo]\ndatabase = \"\"\n[totp]\npast = 2\n";
        assert_eq!(Policy::parse(text).unwrap().window.past, 2);
        let mistakes: Vec<_> = Settings::parse(text).unwrap_err().iter().map(Mistake::to_string).collect();
        assert_eq!(
            mistakes,
            [
                "line 2, column 8: brand.dark must be a colour like \"#1a2b3c\"",
                "line 3, column 8: brand.logo must be an absolute path, beginning with /",
                "line 4, column 1: unknown key \"ligth\" in [brand]; did you mean \"light\"?",
            ]
        );
    }

    #[test]
    fn the_default_file_means_the_defaults() {
        assert_eq!(Settings::parse(&keys::default_file()), Settings::parse(""));
        assert_eq!(Settings::parse("").unwrap().geo_database, None);
    }
}
