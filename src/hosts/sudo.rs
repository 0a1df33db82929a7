//! What sudo's rules say, as `cvtsudoers -f json` prints them: when sudo asks, and whom it does not ask.

use serde_json::Value;

use crate::finding::Finding;

/// How long sudo asks nobody again, in minutes, where nothing is set.
const USUAL: f64 = 15.0;
/// Longer than this is told.
const LONG: f64 = 60.0;

/// What is to be known of sudo's rules where its PAM stack asks for a code.
///
/// # Errors
/// A sentence, where this is no output of cvtsudoers.
pub fn judge(json: &str) -> Result<Vec<Finding>, String> {
    let rules: Value = serde_json::from_str(json).map_err(|error| format!("cvtsudoers printed no JSON: {error}"))?;
    let mut found: Vec<_> = items(&rules, "Defaults").flat_map(of_defaults).collect();
    found.extend(items(&rules, "User_Specs").filter_map(of_users));
    Ok(found)
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn of_defaults(defaults: &Value) -> Vec<Finding> {
    let whose: Vec<_> = items(defaults, "Binding").map(named).collect();
    let place = if whose.is_empty() {
        "sudoers: Defaults".to_owned()
    } else {
        format!("sudoers: Defaults for {}", whose.join(", "))
    };
    let mut found = Vec::new();
    for option in items(defaults, "Options") {
        if option.get("authenticate") == Some(&Value::Bool(false)) {
            let what = "!authenticate: sudo asks neither password nor code";
            found.push(Finding::warning("sudo-unasked", &place, what).mend("take it out, with visudo"));
        }
        let minutes = option.get("timestamp_timeout").and_then(minutes).unwrap_or(USUAL);
        if minutes < 0.0 {
            let what = "timestamp_timeout is negative: after one code sudo asks nobody again until the next boot";
            found.push(Finding::warning("sudo-timestamp", &place, what).mend("set timestamp_timeout=15, with visudo"));
        } else if minutes > LONG {
            let what = format!("timestamp_timeout: after one code sudo does not ask again for {minutes} minutes");
            found.push(Finding::notice("sudo-timestamp", &place, what));
        }
        if option.get("timestamp_type").and_then(Value::as_str) == Some("global") {
            let what = "timestamp_type=global: a code given on one terminal counts on all of them";
            found.push(Finding::warning("sudo-timestamp", &place, what).mend("take it out, with visudo"));
        }
    }
    found
}

fn minutes(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

fn of_users(spec: &Value) -> Option<Finding> {
    let is_unasked = |commands: &Value| {
        items(commands, "Options").any(|option| option.get("authenticate") == Some(&Value::Bool(false)))
    };
    let commands: Vec<_> = items(spec, "Cmnd_Specs").filter(|commands| is_unasked(commands)).collect();
    let first = commands.first()?;
    let names: Vec<_> = items(first, "Commands").map(named).collect();
    let whose: Vec<_> = items(spec, "User_List").map(named).collect();
    let what = format!("NOPASSWD: sudo asks nothing of {} for {}", whose.join(", "), names.join(", "));
    Some(Finding::notice("sudo-unasked", "sudoers", what))
}

/// `alice`, `%wheel`, `ALL`: what an object of cvtsudoers names.
fn named(value: &Value) -> String {
    let field = value.as_object().and_then(|fields| fields.iter().find(|(name, _)| *name != "negated"));
    let Some((kind, text)) = field else { return "?".to_owned() };
    let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
    match kind.as_str() {
        "usergroup" => format!("%{text}"),
        "netgroup" => format!("+{text}"),
        "userid" => format!("#{text}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sudo_does_not_ask_is_told() {
        let json = r#"{ "Defaults": [
                { "Options": [ { "env_reset": true }, { "timestamp_timeout": -1 } ] },
                { "Binding": [ { "username": "bob" } ], "Options": [ { "authenticate": false } ] } ],
            "User_Specs": [
                { "User_List": [ { "usergroup": "deploy" } ], "Host_List": [ { "hostname": "ALL" } ],
                  "Cmnd_Specs": [ { "Options": [ { "authenticate": false } ], "Commands": [ { "command": "ALL" } ] } ] },
                { "User_List": [ { "username": "root" } ], "Cmnd_Specs": [ { "Commands": [ { "command": "ALL" } ] } ] } ] }"#;
        let found = judge(json).unwrap_or_default();
        let told: Vec<_> = found.iter().map(|finding| (finding.check, finding.place.as_str())).collect();
        let expected = [
            ("sudo-timestamp", "sudoers: Defaults"),
            ("sudo-unasked", "sudoers: Defaults for bob"),
            ("sudo-unasked", "sudoers"),
        ];
        assert_eq!(told, expected);
        assert!(found.last().is_some_and(|last| last.what.contains("%deploy for ALL")));
    }

    #[test]
    fn what_is_no_output_of_it_is_an_error_and_an_empty_one_is_fine() {
        assert!(judge("sudoers: no such file").is_err());
        assert_eq!(judge("{}"), Ok(Vec::new()));
    }
}
