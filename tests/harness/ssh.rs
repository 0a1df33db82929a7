//! The real sshd on the sandbox's own port 22, and real clients.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::lines::Lines;
use crate::product::example;
use crate::sandbox::{SCRATCH, Sandbox};
use crate::users::PEOPLE;

/// A server in the foreground.
pub struct Sshd {
    child: Child,
    log: Lines,
}

/// The `sshd_config` lines that an example of `pam.d-examples` asks for: its comments indented by five blanks or more.
pub fn config_of(example: &str) -> String {
    let lines = example.lines().filter_map(|line| line.strip_prefix("#     "));
    lines.fold(String::new(), |text, line| text + line.trim() + "\n")
}

impl Sshd {
    /// Starts a server with an example of `pam.d-examples`: its service file, and the lines for sshd_config that it names.
    pub fn of_example(sandbox: &Sandbox, name: &str, more: &str) -> Self {
        let text = example(name);
        sandbox.service("sshd", text);
        Self::start(sandbox, &(config_of(text) + more))
    }

    /// Starts a server whose configuration ends in these lines; everybody's public key is the same one, for the clients here.
    ///
    /// # Panics
    /// Where it does not listen in time.
    pub fn start(sandbox: &Sandbox, config: &str) -> Self {
        let folder = format!("{SCRATCH}/sshd");
        fs::create_dir_all(&folder).unwrap();
        let [key, public] = key_pair();
        for name in ["host_key", "client_key"] {
            fs::write(format!("{folder}/{name}"), key).unwrap();
            fs::set_permissions(format!("{folder}/{name}"), Permissions::from_mode(0o600)).unwrap();
        }
        for (name, uid) in PEOPLE.into_iter().chain([("root", 0)]) {
            authorize(name, uid, public);
        }
        let file = format!("{folder}/sshd_config");
        // sshd takes the first value it finds, so what the test says comes first.
        let text = format!(
            "{config}\nListenAddress 127.0.0.1\nListenAddress ::1\nHostKey {folder}/host_key\nPidFile none\nUsePAM yes\n\
             UseDNS no\nMaxStartups 1000\nPrintMotd no\nAcceptEnv LANG LC_*\nLogLevel VERBOSE\n"
        );
        fs::write(&file, text).unwrap();
        let mut command = sandbox.command("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f", &file]).stdout(Stdio::null());
        let mut child = command.spawn().expect("sshd");
        let log = Lines::of(child.stderr.take().unwrap());
        log.wait_for("Server listening on 127.0.0.1 port 22.");
        Self { child, log }
    }

    /// The file of its configuration.
    pub fn config_file(&self) -> String {
        format!("{SCRATCH}/sshd/sshd_config")
    }

    /// What it logs, and whatever its processes write to standard error.
    pub fn log(&self) -> &Lines {
        &self.log
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the log of sshd:\n{}", self.log.all().join("\n"));
        }
    }
}

/// One key pair for all of a run; making it takes longer than a login.
fn key_pair() -> &'static [String; 2] {
    static PAIR: OnceLock<[String; 2]> = OnceLock::new();
    PAIR.get_or_init(|| {
        let path = format!("{SCRATCH}/new_key");
        let mut command = Command::new("/usr/bin/ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", &path]);
        assert!(command.status().expect("ssh-keygen").success());
        [path.clone(), format!("{path}.pub")].map(|path| fs::read_to_string(path).unwrap())
    })
}

fn authorize(name: &str, uid: u32, public: &str) {
    let folder = format!("/home/{name}/.ssh");
    let file = format!("{folder}/authorized_keys");
    fs::create_dir_all(&folder).unwrap();
    fs::write(&file, public).unwrap();
    for path in [&folder, &file] {
        fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
        chown(path, Some(uid), Some(uid)).unwrap();
    }
}

/// A client to be.
pub struct Client<'a> {
    sandbox: &'a Sandbox,
    user: String,
    options: Vec<String>,
    with_key: bool,
    locale: &'static str,
}

/// A client at work.
pub struct Connection {
    child: Child,
    folder: String,
}

/// What a client left.
#[derive(Debug)]
pub struct Session {
    /// Whether the remote command ran and succeeded.
    pub success: bool,
    /// What the remote command printed.
    pub stdout: String,
    /// What the client printed.
    pub stderr: String,
    /// The questions, in order.
    pub questions: Vec<Question>,
}

/// One question of the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// As the client showed it.
    pub text: String,
    /// When it came, in nanoseconds since 1970.
    pub asked: u128,
    /// When the answer went; the same where none did.
    pub answered: u128,
}

impl Session {
    /// The texts of the questions.
    pub fn prompts(&self) -> Vec<&str> {
        self.questions.iter().map(|question| question.text.as_str()).collect()
    }

    /// Microseconds from each answer to the question that followed it.
    pub fn waits(&self) -> Vec<u64> {
        let pairs = self.questions.windows(2);
        let micros = |pair: &[Question]| (pair[1].asked.saturating_sub(pair[0].answered)) / 1000;
        pairs.map(|pair| u64::try_from(micros(pair)).unwrap()).collect()
    }
}

impl<'a> Client<'a> {
    /// A client for a user, without a key.
    pub fn new(sandbox: &'a Sandbox, user: &str) -> Self {
        Self { sandbox, user: user.to_owned(), options: Vec::new(), with_key: false, locale: "C.UTF-8" }
    }

    /// Offers the key.
    pub fn with_key(mut self) -> Self {
        self.with_key = true;
        self
    }

    /// Sets an option as in ssh_config.
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// Comes from another address of the loopback network.
    pub fn from(self, address: &str) -> Self {
        let option = format!("BindAddress={address}");
        self.option(&option)
    }

    /// Runs in a locale.
    pub fn locale(mut self, locale: &'static str) -> Self {
        self.locale = locale;
        self
    }

    /// The words of the command line, host last.
    pub fn words(&self) -> Vec<String> {
        let mut options = self.options.clone();
        options.extend(
            [
                "StrictHostKeyChecking=no",
                "UserKnownHostsFile=/dev/null",
                "LogLevel=ERROR",
                "IdentitiesOnly=yes",
                "SendEnv=LANG LC_*",
            ]
            .map(str::to_owned),
        );
        options.push(if self.with_key {
            format!("IdentityFile={SCRATCH}/sshd/client_key")
        } else {
            "PubkeyAuthentication=no".to_owned()
        });
        let mut words = vec!["/usr/bin/ssh".to_owned(), "-F".to_owned(), "none".to_owned()];
        for option in options {
            words.extend(["-o".to_owned(), option]);
        }
        words.push(format!("{}@127.0.0.1", self.user));
        words
    }

    /// The command line for a shell; at the far end `remote` runs on a terminal.
    pub fn shell_command(&self, remote: &str) -> String {
        let mut words = self.words();
        words.insert(1, "-t".to_owned());
        words.push(remote.to_owned());
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        quoted.join(" ")
    }

    /// The client as a command whose terminal the test provides.
    pub fn command(&self, remote: &str) -> Command {
        let words = self.words();
        let mut command = self.sandbox.command(&words[0]);
        command.args(&words[1..]).arg(remote);
        command.env("LANG", self.locale);
        command
    }

    /// Logs in with these answers and runs a command there.
    pub fn run<S: AsRef<[u8]>>(&self, answers: &[S], remote: &str) -> Session {
        self.connect(answers, remote).finish()
    }

    /// Starts to log in with these answers.
    ///
    /// # Panics
    /// Where ssh does not start.
    pub fn connect<S: AsRef<[u8]>>(&self, answers: &[S], remote: &str) -> Connection {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = format!("{SCRATCH}/client.{number}");
        fs::create_dir_all(&folder).unwrap();
        for (index, answer) in answers.iter().enumerate() {
            fs::write(format!("{folder}/answer.{index}"), answer).unwrap();
        }
        let mut command = self.command(remote);
        command
            .env("SSH_ASKPASS", "/usr/local/sbin/askpass")
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("ASKPASS_FOLDER", &folder);
        // A group of its own, so that what it asks by goes with it.
        let child = command.process_group(0).spawn().expect("ssh");
        Connection { child, folder }
    }
}

impl Connection {
    /// Hangs up.
    pub fn kill(&mut self) {
        let group = Pid::from_child(&self.child);
        let _ = kill_process_group(group, Signal::KILL);
    }

    /// The process of the client.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// Where the files of the questions cannot be read.
    pub fn finish(self) -> Session {
        let output = self.child.wait_with_output().unwrap();
        let mut questions = Vec::new();
        while let Ok(text) = fs::read(format!("{}/prompt.{}", self.folder, questions.len())) {
            let times = fs::read_to_string(format!("{}/times.{}", self.folder, questions.len()));
            let times = times.unwrap_or_default();
            let mut times = times.split(' ').map(|time| time.parse().unwrap_or(0));
            let asked = times.next().unwrap_or(0);
            questions.push(Question {
                text: String::from_utf8_lossy(&text).into_owned(),
                asked,
                answered: times.next().unwrap_or(asked),
            });
        }
        fs::remove_dir_all(&self.folder).unwrap();
        Session {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            questions,
        }
    }
}
