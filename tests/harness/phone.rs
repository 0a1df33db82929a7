//! An independent phone: codes as oathtool computes them.

use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::product::{Parameters, random};

/// One device: a key and how codes are made of it.
#[derive(Clone, Debug, Default)]
pub struct Phone {
    key: String,
    with: Parameters,
}

impl Phone {
    /// A device with a base32 key.
    pub fn new(key: &str, with: Parameters) -> Self {
        Self { key: key.to_owned(), with }
    }

    /// Takes the key out of an otpauth URI, as an app does that ignores everything else in it.
    ///
    /// # Panics
    /// Where there is none.
    pub fn scanning(uri: &str) -> Self {
        let rest = uri.split("secret=").nth(1).unwrap_or_else(|| panic!("no secret in {uri}"));
        Self::new(rest.split('&').next().unwrap(), Parameters::default())
    }

    /// The code it shows now.
    pub fn code(&self) -> String {
        self.code_at(seconds_now())
    }

    /// The code of so many steps from now; a negative number looks back, and then there is time to use it.
    pub fn code_in(&self, steps: i64) -> String {
        if steps < 0 {
            self.settle(4);
        }
        let period = i64::try_from(self.with.period).unwrap();
        self.code_at(seconds_now().saturating_add_signed(steps * period))
    }

    /// The code it shows at a time, in seconds since 1970.
    ///
    /// # Panics
    /// Where oathtool is missing or refuses.
    pub fn code_at(&self, seconds: u64) -> String {
        let mut oathtool = Command::new("/usr/bin/oathtool");
        oathtool
            .arg(format!("--totp={}", self.with.algorithm.to_uppercase()))
            .args(["--base32", "--digits", &self.with.digits.to_string()])
            .arg(format!("--time-step-size={}s", self.with.period))
            .arg(format!("--now=@{seconds}"))
            .arg(&self.key);
        let output = oathtool.output().expect("oathtool");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A code that it shows neither now nor within a few steps.
    pub fn wrong_code(&self) -> String {
        let now = seconds_now();
        let near: Vec<String> = (0..9)
            .map(|step| self.code_at((now + 4 * self.with.period).saturating_sub(step * self.with.period)))
            .collect();
        let modulus = 10_u64.pow(self.with.digits);
        loop {
            let number = u64::from_ne_bytes(random()) % modulus;
            let code = format!("{number:0width$}", width = self.with.digits as usize);
            if !near.contains(&code) {
                return code;
            }
        }
    }

    /// Waits, where the current step is about to end, for the next: a test that speaks of steps then has this long.
    pub fn settle(&self, seconds: u64) {
        let period = Duration::from_secs(self.with.period);
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let into = since_epoch.as_nanos() % period.as_nanos();
        let left = period - Duration::from_nanos(u64::try_from(into).unwrap());
        if left < Duration::from_secs(seconds) {
            thread::sleep(left + Duration::from_millis(20));
        }
    }
}

/// Seconds since 1970.
///
/// # Panics
/// Where the clock stands before.
pub fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
