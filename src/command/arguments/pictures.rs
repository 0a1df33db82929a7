//! The command line of pictures.

use clap::Subcommand;

/// What to do with pictures.
#[derive(Subcommand, Debug)]
pub enum PictureAct {
    /// Colours and logo of pictures that are printed.
    #[command(subcommand)]
    Brand(BrandAct),
    /// Show a harmless code in every form that a terminal can draw, and which option of enroll draws it.
    QrTest,
}

/// What to do with colours and logo.
#[derive(Subcommand, Debug)]
pub enum BrandAct {
    /// Check colours and logo of the policy: contrast, logo, and whether its pictures can be read back.
    Check,
}
