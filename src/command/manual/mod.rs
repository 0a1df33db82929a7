//! What is made from the one definition of each option, key, argument and reason: manual pages, completions, and the
//! reference in the README.
//!
//! | file | what it makes |
//! |---|---|
//! | `roff` | the language of manual pages |
//! | `command` | `qrtotp(8)`, and `qrtotp-NAME(8)` for each subcommand |
//! | `module` | `pam_qrtotp(8)` |
//! | `config` | `qrtotp-config(5)` |
//! | `rollout` | `qrtotp(7)`, which is written by hand |
//! | `completions` | completions for bash, zsh and fish |
//! | `reference` | the README's table of subcommands and options |

mod command;
pub mod completions;
mod config;
mod module;
pub mod reference;
mod roff;
mod rollout;

pub use roff::Page;

/// Every page.
pub fn pages() -> Vec<Page> {
    let tree = command::built();
    let mut pages = vec![command::overview(&tree), module::page(), config::page(), rollout::page()];
    pages.extend(command::visible(&tree).map(command::of_subcommand));
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_ascii_and_no_line_is_a_request_by_accident() {
        let known = "TH nr ad SH SS TP IP PP EX EE RS RE SY YS B BR I IR RB".split(' ').collect::<Vec<_>>();
        for page in pages() {
            assert!(page.text().is_ascii(), "{}", page.file_name());
            for line in page.text().lines().filter(|line| line.starts_with(['.', '\''])) {
                let request = line.trim_start_matches('.').split(' ').next().unwrap();
                assert!(known.contains(&request), "{}: {line}", page.file_name());
            }
        }
    }
}
