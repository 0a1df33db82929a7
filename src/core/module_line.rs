//! The one definition of what may stand after `pam_qrtotp.so` in a service file. The manual is made from it; the module's reader
//! is held against it by a test, because reading by a table would cost the module more bytes.

/// A word of the module's line.
pub struct Argument {
    /// The word itself, before its `=`.
    pub name: &'static str,
    /// What stands after the `=`, as the manual calls it; `None`: the word stands alone.
    pub value: Option<&'static str>,
    /// What it means, for the administrator.
    pub help: &'static str,
}

/// Another policy file.
pub const CONFIG: Argument = Argument {
    name: "config",
    value: Some("PATH"),
    help: "The policy file, by an absolute path; the default is `/etc/qrtotp/config.toml`. Services may have policies of \
           their own; let them share the state folder, or a code counts once in each.",
};

/// More in the log.
pub const DEBUG: Argument = Argument {
    name: "debug",
    value: None,
    help: "Says more in syslog, at the priority `debug`. Neither keys nor codes nor passwords are ever logged.",
};

/// All of them.
pub const ARGUMENTS: [&Argument; 2] = [&CONFIG, &DEBUG];
