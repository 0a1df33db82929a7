//! Which logins are tried, and what they must come to.

use qrtotp_core::otp::code::Generator;
use qrtotp_core::otp::{Secret, Shape};
use qrtotp_core::policy::Policy;
use qrtotp_core::ports::Clock;
use qrtotp_system::SystemClock;
use serde::{Deserialize, Serialize};

use crate::client::{SUCCESS, authenticate};
use crate::stage::{Script, Stage, USER, build};

/// What came of a trial.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A right code got in, and nothing else did.
    Good,
    /// Something got in that must not, or the right code did not.
    Bad(String),
    /// It cannot be told here; says why.
    Untried(String),
}

/// One login: what libpam said, and whether the code was asked.
struct Login {
    answer: i32,
    asked: bool,
}

/// Tries a stack. This process is in another mount namespace from then on, and must end soon.
pub fn run(script: &Script, policy: &Policy) -> Verdict {
    match build(script, policy) {
        Ok(stage) => judge(script, &stage),
        Err(why) => Verdict::Untried(why),
    }
}

fn judge(script: &Script, stage: &Stage) -> Verdict {
    let Some((right, wrong)) = codes(&stage.secret) else {
        return Verdict::Untried("the kernel does not tell the time".to_owned());
    };
    let good = log_in(script, stage, &stage.password, &right);
    if !good.asked && good.answer == SUCCESS {
        return Verdict::Bad("somebody gets in without being asked for a code".to_owned());
    }
    if !good.asked {
        return Verdict::Untried(format!(
            "a line before the module turned the account of the trial away (libpam answered {})",
            good.answer
        ));
    }
    if good.answer != SUCCESS {
        return Verdict::Bad(format!("a right code is refused: libpam answered {}", good.answer));
    }
    let mut refused = vec![
        ("a code that was used before", stage.password.as_str(), right.as_str()),
        ("a wrong code", stage.password.as_str(), wrong.as_str()),
    ];
    if script.asks_password {
        refused.push(("a wrong password with any code", "wrong", right.as_str()));
    }
    for (what, password, code) in refused {
        if log_in(script, stage, password, code).answer == SUCCESS {
            return Verdict::Bad(format!("{what} gets in"));
        }
    }
    Verdict::Good
}

fn log_in(script: &Script, stage: &Stage, password: &str, code: &str) -> Login {
    let mut asked = false;
    let mut ask = |question: &str| {
        if question.ends_with(&stage.question) {
            // The second code of two is never given: who is asked for it was not let in.
            let is_first = !asked;
            asked = true;
            return is_first.then(|| code.to_owned());
        }
        (!asked).then(|| password.to_owned())
    };
    let answer = authenticate(&script.service, USER, &mut ask);
    Login { answer, asked }
}

/// The code of now, and one that no step near it shows.
fn codes(secret: &Secret) -> Option<(String, String)> {
    let shape = Shape::default();
    let generator = Generator::new(secret, shape)?;
    let step = shape.step_at(SystemClock.now()?.wall);
    let near: Vec<String> = (-3..=3).map(|by| generator.code(step.offset(by)).to_text().to_string()).collect();
    let wrong = (0..10).map(|digit| format!("{digit}00000")).find(|code| !near.contains(code))?;
    Some((near.get(3)?.clone(), wrong))
}
