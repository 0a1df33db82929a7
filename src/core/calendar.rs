//! Dates of the Gregorian calendar, counted in eras of 400 years that begin on 1 March.

use toml_datetime::{Datetime, Offset};

use crate::words::WallTime;

/// Milliseconds of a day.
pub const DAY: u64 = 86_400_000;

/// Days since 1970-01-01 -> year, month, day.
pub fn date_of(days: i64) -> (i64, i64, i64) {
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let leap_days = (day_of_era / 1460).saturating_sub(day_of_era / 36_524).saturating_add(day_of_era / 146_096);
    let year_of_era = day_of_era.saturating_sub(leap_days) / 365;
    let before_year = year_of_era.saturating_mul(365).saturating_add(year_of_era / 4).saturating_sub(year_of_era / 100);
    let day_of_year = day_of_era.saturating_sub(before_year);
    let month_from_march = day_of_year.saturating_mul(5).saturating_add(2) / 153;
    let month_start = month_from_march.saturating_mul(153).saturating_add(2) / 5;
    let day = day_of_year.saturating_sub(month_start).saturating_add(1);
    let month =
        if month_from_march < 10 { month_from_march.saturating_add(3) } else { month_from_march.saturating_sub(9) };
    let year = era.saturating_mul(400).saturating_add(year_of_era).saturating_add(i64::from(month <= 2));
    (year, month, day)
}

/// Year, month, day -> days since 1970-01-01.
pub fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year.saturating_sub(1) } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month.saturating_sub(3) } else { month.saturating_add(9) };
    let month_start = month_from_march.saturating_mul(153).saturating_add(2) / 5;
    let day_of_year = month_start.saturating_add(day).saturating_sub(1);
    let leap_days = (year_of_era / 4).saturating_sub(year_of_era / 100);
    let day_of_era = year_of_era.saturating_mul(365).saturating_add(leap_days).saturating_add(day_of_year);
    era.saturating_mul(146_097).saturating_add(day_of_era).saturating_sub(719_468)
}

/// The moment that a date, a time and an offset name; `None` where one of them is missing.
pub fn moment(written: &Datetime) -> Option<WallTime> {
    let east = match written.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes).checked_mul(60_000)?,
    };
    written.time?;
    local_end(written)?.checked_add_signed(east.checked_neg()?).map(WallTime)
}

/// Milliseconds since 1970, as if the zone were UTC, of a date and a time; without a time, of the end of the day.
pub fn local_end(written: &Datetime) -> Option<u64> {
    let date = written.date?;
    let days = days_of(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let seconds = match written.time {
        None => 86_400,
        Some(time) => {
            let minutes = i64::from(time.hour).checked_mul(60)?.checked_add(i64::from(time.minute))?;
            minutes.checked_mul(60)?.checked_add(i64::from(time.second.unwrap_or(0)))?
        }
    };
    let whole = days.checked_mul(86_400)?.checked_add(seconds)?.checked_mul(1000)?;
    u64::try_from(whole).ok()
}

/// Milliseconds of `30s`, `10m`, `8h`, `7d` or `2w`; `None` for anything else, and for nothing at all (`0m`).
pub fn duration(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY,
        "w" => DAY.saturating_mul(7),
        _ => return None,
    };
    let is_plain = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|number| is_plain && *number > 0)?;
    number.checked_mul(unit)
}

/// A time in words, as people count down: `3 days`, `5 hours`, `1 minute`. Rounded down, and at least a minute.
pub fn in_words(milliseconds: u64) -> String {
    let (count, unit) = match milliseconds {
        left if left >= DAY.saturating_mul(2) => (left / DAY, "day"),
        left if left >= 7_200_000 => (left / 3_600_000, "hour"),
        left => ((left / 60_000).max(1), "minute"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_are_each_others_inverse_over_eight_centuries() {
        let mut expected = (1600, 1, 1);
        for days in days_of(1600, 1, 1)..days_of(2400, 1, 1) {
            assert_eq!(date_of(days), expected);
            assert_eq!(days_of(expected.0, expected.1, expected.2), days);
            let (year, month, day) = expected;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
            expected = match (day == length, month == 12) {
                (false, _) => (year, month, day + 1),
                (true, false) => (year, month + 1, 1),
                (true, true) => (year + 1, 1, 1),
            };
        }
    }

    #[test]
    fn the_epoch_is_day_zero() {
        assert_eq!((days_of(1970, 1, 1), date_of(0)), (0, (1970, 1, 1)));
    }

    #[test]
    fn durations_have_one_number_and_one_unit() {
        let read = [("30s", 30_000), ("10m", 600_000), ("8h", 28_800_000), ("7d", 604_800_000), ("2w", 1_209_600_000)];
        assert!(read.iter().all(|(text, time)| duration(text) == Some(*time)));
        let wrong =
            ["", "8", "h", "0h", "-1h", "+1h", "1.5h", "8 h", "8H", "1h30m", "99999999999999999999d", "8\u{e9}"];
        assert!(wrong.iter().all(|text| duration(text).is_none()));
        assert_eq!(duration("999999999999999w"), None);
    }

    #[test]
    fn a_time_in_words_is_rounded_down() {
        let words = [(0, "1 minute"), (61_000, "1 minute"), (7_199_999, "119 minutes"), (7_200_000, "2 hours")];
        assert!(words.iter().all(|(time, text)| in_words(*time) == *text));
        assert_eq!((in_words(DAY * 2 - 1).as_str(), in_words(DAY * 2).as_str()), ("47 hours", "2 days"));
    }
}
