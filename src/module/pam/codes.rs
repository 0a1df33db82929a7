//! The integers of `security/_pam_types.h`, which a test compares with the installed header. Linux-PAM never changed one.

use libc::c_int;
use qrtotp_core::verdict::PamAnswer;

/// PAM_SUCCESS
pub const SUCCESS: c_int = 0;
const SERVICE_ERR: c_int = 3;
const AUTH_ERR: c_int = 7;
const AUTHINFO_UNAVAIL: c_int = 9;
const MAXTRIES: c_int = 11;
/// PAM_CONV_ERR
pub const CONV_ERR: c_int = 19;
const IGNORE: c_int = 25;
const ABORT: c_int = 26;

/// PAM_SILENT
const SILENT: c_int = 0x8000;

/// PAM_CONV
pub const CONV: c_int = 5;
/// PAM_AUTHTOK
pub const AUTHTOK: c_int = 6;

/// What is said or asked: the message styles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// PAM_PROMPT_ECHO_OFF
    Hidden = 1,
    /// PAM_PROMPT_ECHO_ON
    Shown = 2,
    /// PAM_TEXT_INFO
    Info = 4,
}

/// What the host asks of the whole call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(c_int);

impl Flags {
    /// Takes the integer over; bits that mean nothing here are ignored, as pam_sm_authenticate(3) says.
    pub fn parse(raw: c_int) -> Self {
        Self(raw)
    }

    /// PAM_SILENT: say nothing beyond the prompts.
    pub fn silent(self) -> bool {
        self.0 & SILENT != 0
    }
}

/// The C code of an answer.
pub fn code(answer: PamAnswer) -> c_int {
    match answer {
        PamAnswer::Success => SUCCESS,
        PamAnswer::Ignore => IGNORE,
        PamAnswer::AuthErr => AUTH_ERR,
        PamAnswer::MaxTries => MAXTRIES,
        PamAnswer::ConvErr => CONV_ERR,
        PamAnswer::AuthinfoUnavail => AUTHINFO_UNAVAIL,
        PamAnswer::ServiceErr => SERVICE_ERR,
        PamAnswer::Abort => ABORT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pam::Item;
    use std::mem::{offset_of, size_of};
    use std::process::Command;

    use pam_sys::{PamConversation, PamMessage, PamResponse};

    /// Compiles a C program that sees the installed headers, runs it, and gives what it printed.
    fn run_c(program: &str) -> String {
        let folder = tempfile::TempDir::new().unwrap();
        let (source, binary) = (folder.path().join("program.c"), folder.path().join("program"));
        std::fs::write(&source, program).unwrap();
        let compiler = ["-Wall", "-Wextra", "-Werror", "-o"];
        assert!(Command::new("cc").args(compiler).arg(&binary).arg(&source).status().unwrap().success());
        String::from_utf8(Command::new(&binary).output().unwrap().stdout).unwrap()
    }

    #[test]
    fn every_constant_is_that_of_the_installed_header() {
        let constants: [(&str, c_int); 19] = [
            ("PAM_SUCCESS", code(PamAnswer::Success)),
            ("PAM_IGNORE", code(PamAnswer::Ignore)),
            ("PAM_AUTH_ERR", code(PamAnswer::AuthErr)),
            ("PAM_MAXTRIES", code(PamAnswer::MaxTries)),
            ("PAM_CONV_ERR", code(PamAnswer::ConvErr)),
            ("PAM_AUTHINFO_UNAVAIL", code(PamAnswer::AuthinfoUnavail)),
            ("PAM_SERVICE_ERR", code(PamAnswer::ServiceErr)),
            ("PAM_ABORT", code(PamAnswer::Abort)),
            ("PAM_SILENT", SILENT),
            ("PAM_CONV", CONV),
            ("PAM_AUTHTOK", AUTHTOK),
            ("PAM_SERVICE", Item::Service as c_int),
            ("PAM_TTY", Item::Terminal as c_int),
            ("PAM_RHOST", Item::RemoteHost as c_int),
            ("PAM_RUSER", Item::RemoteUser as c_int),
            ("PAM_PROMPT_ECHO_OFF", Style::Hidden as c_int),
            ("PAM_PROMPT_ECHO_ON", Style::Shown as c_int),
            ("PAM_TEXT_INFO", Style::Info as c_int),
            ("PAM_USER", crate::pam::stage::USER),
        ];
        let print = |(name, _): &(&str, c_int)| format!("printf(\"{name} %d\\n\", (int) {name});\n");
        let prints: String = constants.iter().map(print).collect();
        let program = format!("#include <stdio.h>\n#include <security/pam_modules.h>\nint main(void) {{\n{prints}}}\n");
        let ours: String = constants.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
        assert_eq!(run_c(&program), ours);
    }

    #[test]
    fn the_structs_lie_in_memory_as_the_installed_header_says() {
        let program = r#"
            #include <stddef.h>
            #include <stdio.h>
            #include <security/pam_appl.h>
            int main(void) {
                printf("%zu %zu %zu\n", sizeof(struct pam_message), offsetof(struct pam_message, msg_style),
                    offsetof(struct pam_message, msg));
                printf("%zu %zu %zu\n", sizeof(struct pam_response), offsetof(struct pam_response, resp),
                    offsetof(struct pam_response, resp_retcode));
                printf("%zu %zu %zu\n", sizeof(struct pam_conv), offsetof(struct pam_conv, conv),
                    offsetof(struct pam_conv, appdata_ptr));
            }"#;
        let ours = format!(
            "{} {} {}\n{} {} {}\n{} {} {}\n",
            size_of::<PamMessage>(),
            offset_of!(PamMessage, msg_style),
            offset_of!(PamMessage, msg),
            size_of::<PamResponse>(),
            offset_of!(PamResponse, resp),
            offset_of!(PamResponse, resp_retcode),
            size_of::<PamConversation>(),
            offset_of!(PamConversation, conv),
            offset_of!(PamConversation, data_ptr),
        );
        assert_eq!(run_c(program), ours);
    }

    #[test]
    fn the_functions_have_the_prototypes_of_the_installed_headers() {
        let program = r#"
            #include <stdio.h>
            #include <security/pam_appl.h>
            #include <security/pam_modules.h>
            #define SAME(function, ...) \
                _Static_assert(__builtin_types_compatible_p(__typeof__(function), __VA_ARGS__), #function)
            SAME(pam_get_item, int(const pam_handle_t *, int, const void **));
            SAME(pam_get_user, int(pam_handle_t *, const char **, const char *));
            SAME(pam_sm_authenticate, int(pam_handle_t *, int, int, const char **));
            SAME(pam_sm_setcred, int(pam_handle_t *, int, int, const char **));
            SAME(pam_start_confdir,
                int(const char *, const char *, const struct pam_conv *, const char *, pam_handle_t **));
            int main(void) { puts("same"); }"#;
        assert_eq!(run_c(program), "same\n");
    }

    #[test]
    fn silence_is_asked_for_by_one_bit() {
        for (raw, silent) in [(0, false), (0x1, false), (0x8000, true), (0x8001, true), (-1, true), (0x7fff, false)] {
            assert_eq!(Flags::parse(raw).silent(), silent, "{raw:#x}");
        }
    }
}
