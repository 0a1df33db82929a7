//! One call of the module, told top down.

use qrtotp_core::events::{Event, Kind, Printable, Scene};
use qrtotp_core::login::{self, Request, World};
use qrtotp_core::policy::Policy;
use qrtotp_core::ports::{Clock, Events, Random};
use qrtotp_core::verdict::Cause;
use qrtotp_core::words::{AttemptId, Source, WallTime};
use qrtotp_system::{Log, SystemClock, SystemRandom, Users, caller, host_name, session};

use crate::arguments::Arguments;
use crate::pam::{Flags, Handle, Item, Talk};

/// Answers pam_sm_authenticate(3).
pub fn authenticate(handle: &Handle<'_>, flags: Flags, words: &[Vec<u8>]) -> Cause {
    let scene = scene(handle);
    let log = Log::new(&scene.service);
    let arguments = match Arguments::parse(words.iter().map(Vec::as_slice)) {
        Ok(arguments) => arguments,
        Err(wrong) => return refuse(handle, &log, Cause::Argument, &wrong),
    };
    let log = log.with_debug(arguments.debug);
    // `qrtotp doctor` looks for these words in the file.
    log.debug(concat!("pam_qrtotp version ", env!("CARGO_PKG_VERSION")));
    let policy = match Policy::load(&arguments.config) {
        Ok(policy) => policy,
        Err(wrong) => return refuse(handle, &log, Cause::Policy, &wrong),
    };
    let log = log.with_file(&policy.events_file);
    let user = match handle.user() {
        Ok(user) => user,
        Err(code) => return refuse(handle, &log, Cause::NoConversation, &format!("pam_get_user answered {code}")),
    };
    let request = Request {
        scene,
        user,
        rhost: handle.text(Item::RemoteHost),
        password: handle.password(),
        password_failed: handle.unix_answer().is_some_and(|answer| answer != 0),
        silent: flags.silent(),
        host: host_name(),
        session,
        auth_info: handle.variable(c"SSH_AUTH_INFO_0"),
    };
    let world = World { directory: &Users, clock: &SystemClock, random: &SystemRandom, events: &log };
    login::login(&request, &policy, &mut Talk::new(handle), &world)
}

/// Writes down that the module panicked; hosts write nothing themselves when a module aborts a login.
pub fn record_panic(handle: &Handle<'_>, place: &str) -> Cause {
    refuse(handle, &Log::new(&scene(handle).service), Cause::Panic, place)
}

/// Ends a call before there was a login: one event, and the cause.
fn refuse(handle: &Handle<'_>, log: &Log, cause: Cause, detail: &str) -> Cause {
    let source = Source::parse(handle.text(Item::RemoteHost).as_deref(), caller().real);
    let mut id = AttemptId::default();
    // An event without an id is better than none.
    let _ = SystemRandom.fill(&mut id.0);
    log.record(&Event {
        time: SystemClock.now().map_or_else(WallTime::default, |now| now.wall),
        id,
        detail: Some(Printable::new(detail.as_bytes())),
        ..Event::new(Kind::Login, scene(handle), source, cause)
    });
    cause
}

/// What the host says of itself and of the caller.
fn scene(handle: &Handle<'_>) -> Scene {
    let printable = |item| Printable::new(&handle.text(item).unwrap_or_default());
    let caller = caller();
    Scene {
        service: printable(Item::Service),
        tty: printable(Item::Terminal),
        ruser: printable(Item::RemoteUser),
        rhost: printable(Item::RemoteHost),
        real_uid: caller.real.0,
        effective_uid: caller.effective.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pam::stage::Stage;

    #[test]
    fn the_scene_is_what_the_host_said_made_printable() {
        let stage = Stage::new().with(Item::Terminal, "pts/\x1b1").with(Item::RemoteHost, "192.0.2.7");
        let scene = scene(&stage.handle());
        assert_eq!(scene.service.as_str(), Stage::SERVICE);
        assert_eq!(scene.tty.as_str(), "pts/\\x1b1");
        assert_eq!(scene.rhost.as_str(), "192.0.2.7");
        assert_eq!(scene.ruser.as_str(), "");
        assert_eq!(scene.real_uid, caller().real.0);
    }

    #[test]
    fn an_unknown_argument_is_refused_before_anybody_is_asked() {
        let stage = Stage::new();
        let words = [b"nullok".to_vec()];
        assert_eq!(authenticate(&stage.handle(), Flags::parse(0), &words), Cause::Argument);
        assert_eq!(stage.questions(), []);
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_refused_before_anybody_is_asked() {
        let stage = Stage::new();
        let config = stage.folder().join("config.toml");
        std::fs::write(&config, "[unclosed").unwrap();
        let words = [[b"config=".as_slice(), config.as_os_str().as_encoded_bytes()].concat()];
        assert_eq!(authenticate(&stage.handle(), Flags::parse(0), &words), Cause::Policy);
        assert_eq!(stage.questions(), []);
    }

    #[test]
    fn a_panic_is_recorded_as_one() {
        assert_eq!(record_panic(&Stage::new().handle(), "login.rs:1"), Cause::Panic);
    }
}
